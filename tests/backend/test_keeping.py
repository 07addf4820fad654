"""A disk that is wiped, and the Hub that remembers."""

import shutil

import pytest

from backend import events as ev
from backend.errors import BadInput
from backend.jobs import Job
from backend.keeping import Keeping
from backend.store import Store
from tests import localhub
from tests.localhub import ANN, here

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")  # of the Hub's own client


@pytest.fixture
def hub(monkeypatch):
    with localhub.serving() as hub:
        here(monkeypatch, hub.url)
        hub.account(ANN, "ann")
        yield hub


def begun(home):
    store = Store(home)
    run = store.add(Job("sft", {"max_steps": 3}, "local", "user-ann"), {"max_steps": 3})
    run.log.write_text(ev.encode(ev.Started()) + "\n")
    return store, run


def test_a_wiped_disk_begins_with_what_was_kept(hub, tmp_path):
    home = tmp_path / "home"
    kept = Keeping(home, "ann/runs", ANN, hub.url)
    assert not kept.restore(), "there is nothing yet"
    _, run = begun(home)
    (run.folder / "process.json").write_text("{}")
    (run.folder / "adapter").mkdir()
    (run.folder / "adapter" / "weights.bin").write_bytes(b"w" * 5000)
    half = run.folder / "checkpoints" / "checkpoint-2"
    half.mkdir(parents=True)
    (half / "half.bin").write_text("not whole")
    assert kept.keep() > 2
    assert hub.repositories["datasets", "ann/runs"].private
    log = run.log.read_bytes()

    shutil.rmtree(home)
    assert Keeping(home, "ann/runs", ANN, hub.url).restore()
    (back,) = Store(home).runs("user-ann")
    assert back == run
    assert back.log.read_bytes() == log
    assert (back.folder / "adapter" / "weights.bin").stat().st_size == 5000
    assert not (back.folder / "process.json").exists()
    assert not (back.folder / "checkpoints").exists(), "a half checkpoint is none"


def test_only_what_changed_goes_in_one_commit(hub, tmp_path):
    home = tmp_path / "home"
    kept = Keeping(home, "ann/runs", ANN, hub.url)
    kept.restore()
    _, run = begun(home)
    kept.keep()
    commits = hub.repositories["datasets", "ann/runs"].commits
    before = len(commits)
    assert kept.keep() == 0
    assert len(commits) == before
    with run.log.open("a") as file:
        file.write(ev.encode(ev.Finished()) + "\n")
    (run.folder / "params.json").unlink()
    assert kept.keep() == 2
    assert len(commits) == before + 1
    files = hub.repositories["datasets", "ann/runs"].files
    assert f"runs/{run.id}/params.json" not in files
    assert files[f"runs/{run.id}/events.jsonl"] == run.log.read_bytes()


def test_a_full_home_is_left_alone(hub, tmp_path):
    home = tmp_path / "home"
    Keeping(home, "ann/runs", ANN, hub.url).restore()
    _, run = begun(home)
    assert not Keeping(home, "ann/runs", ANN, hub.url).restore()
    assert Store(home).runs("user-ann") == [run]


def test_a_public_place_is_refused(hub, tmp_path):
    hub.add("datasets", "ann/open")
    with pytest.raises(BadInput, match="everybody can read"):
        Keeping(tmp_path, "ann/open", ANN, hub.url).restore()


def test_trouble_is_told_and_the_next_time_tries_again(hub, tmp_path):
    kept = Keeping(tmp_path / "home", "ann/runs", ANN, hub.url)
    kept.restore()
    begun(tmp_path / "home")
    hub.faults.append(("commit|preupload", 403, 1))
    kept._try()
    assert "403" in kept.trouble
    kept._try()
    assert kept.trouble == ""
    assert hub.repositories["datasets", "ann/runs"].files
