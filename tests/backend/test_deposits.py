"""A visitor's runs on somebody else's Space: kept in a repository of theirs, and back when they come again."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backend import events as ev
from backend.deposits import MARK
from backend.errors import BadInput, LabError
from backend.jobs import Job, Run
from backend.lab import Lab
from tests import localhub
from tests.localhub import ANN, BOB, Hub, here
from tests.ui.scripted import lab as scripted

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")  # of the Hub's own client
WHO, KEPT = "user-ann", ("datasets", "ann/atelier-runs")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with localhub.serving() as found:
        here(monkeypatch, found.url)
        found.account(ANN, "ann")
        yield found


@pytest.fixture
def space(hub: Hub, tmp_path: Path) -> Iterator[Callable[[str], Lab]]:
    """A Space of somebody's with the disk `name`, at which Ann and Bob are signed in."""
    labs: list[Lab] = []

    def make(name: str) -> Lab:
        lab = scripted(ATELIER_HOME=str(tmp_path / name), HF_ENDPOINT=hub.url, SPACE_ID="host/atelier")
        lab.token = {WHO: ANN, "user-bob": BOB}.get  # type: ignore[assignment]
        labs.append(lab)
        return lab

    yield make
    for lab in labs:
        lab.close()


def ran(lab: Lab, owner: str = WHO) -> Run:
    job = Job("sft", {"max_steps": 3, "dataset": "sample/instructions"}, "fake", owner)
    run = lab.store.add(job, {"max_steps": 3})
    produced = ev.Produced(kind="adapter", name="adapter", file="adapter")
    run.log.write_text("".join(ev.encode(one) + "\n" for one in (ev.Started(), produced, ev.Finished())))
    (run.folder / "adapter").mkdir()
    (run.folder / "adapter" / "weights.bin").write_bytes(b"w" * 5000)
    return run


def back(lab: Lab) -> None:
    """Ann opens the page; wait until what she kept is there."""
    lab.deposits.came(WHO)
    deadline = time.monotonic() + 60
    while not lab.deposits.look(WHO)["on"]:
        assert time.monotonic() < deadline, lab.deposits.look(WHO)
        time.sleep(0.02)


def test_what_was_kept_comes_back_to_another_disk(hub: Hub, space: Callable[[str], Lab], tmp_path: Path) -> None:
    lab = space("first")
    run, foreign = ran(lab), ran(lab, "user-bob")
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n")
    upload = lab.store.upload(WHO, tmp_path / "rows.csv", "rows.csv")
    lab.pictures.folder(WHO).mkdir(parents=True)
    (lab.pictures.folder(WHO) / "one.png").write_bytes(b"png")
    assert lab.deposits.look(WHO) == {
        "repository": "ann/atelier-runs", "on": False, "kept": 0.0, "trouble": "", "left": 0,
    }  # fmt: skip
    lab.deposits.begin(WHO)
    repository = hub.repositories[KEPT]
    assert repository.private
    assert f"runs/{run.id}/adapter/weights.bin" in repository.files
    assert not any(foreign.id in name for name in repository.files), "of another visitor"
    before = len(repository.commits)
    lab.deposits._all()
    assert len(repository.commits) == before, "nothing changed"
    log = run.log.read_bytes()

    other = space("second")
    back(other)
    (again,) = other.store.runs(WHO)
    assert (again.id, again.job, again.created) == (run.id, run.job, run.created)
    assert again.log.read_bytes() == log
    assert other.states.of(again) == "finished"
    params = json.loads((again.folder / "params.json").read_text())
    assert params["max_steps"] == 3
    assert params["learning_rate"], "settings are whole, made anew from the request"
    assert other.store.uploaded(upload, WHO).read_text() == "a,b\n1,2\n"
    assert (other.pictures.folder(WHO) / "one.png").read_bytes() == b"png"
    ran(other)
    other.deposits._all()
    assert len([name for name in repository.files if name.endswith("job.json")]) == 2
    other.deposits.end(WHO)
    assert MARK not in repository.files
    third = space("third")
    third.deposits.came(WHO)
    third.deposits.begin(WHO)  # asked for anew, it brings what lies there
    assert len(third.store.runs(WHO)) == 2


def test_what_was_tampered_with_reaches_nothing(hub: Hub, space: Callable[[str], Lab]) -> None:
    """The repository is its owner's: it may say anything."""
    lab = space("first")
    good, foreign, reaching, unknown = (ran(lab) for _ in range(4))
    lab.deposits.begin(WHO)
    files = hub.repositories[KEPT].files
    told = json.loads(files[f"runs/{foreign.id}/job.json"])
    files[f"runs/{foreign.id}/job.json"] = json.dumps(told | {"owner": "user-bob"}).encode()
    files[f"runs/{foreign.id}/params.json"] = b'{"dataset": "/etc/passwd"}'
    files[f"runs/{foreign.id}/process.json"] = b'{"pid": 1}'
    event = ev.Produced(kind="adapter", name="adapter", file="../../../etc")
    files[f"runs/{reaching.id}/events.jsonl"] = (ev.encode(event) + "\n").encode()
    files[f"runs/{unknown.id}/job.json"] = json.dumps(told | {"recipe": "rm"}).encode()
    files["runs/not-a-run/job.json"] = json.dumps(told).encode()
    files[MARK] = json.dumps({"uploads": [["../runs", "x", 1], ["abcdefgh", "../../x", 1], 5]}).encode()

    other = space("second")
    back(other)
    assert {run.id for run in other.store.runs(WHO)} == {good.id, foreign.id}
    assert other.store.runs("user-bob") == []
    here = other.store.run(foreign.id).folder
    assert json.loads((here / "job.json").read_text())["owner"] == WHO
    assert json.loads((here / "params.json").read_text())["dataset"] == "sample/instructions"
    assert not (here / "process.json").exists()
    assert other.store.uploads(WHO) == []
    assert sorted(path.name for path in (other.store.home / "runs").iterdir()) == sorted([good.id, foreign.id])


def test_it_is_offered_to_the_signed_in_at_anothers_machine(space: Callable[[str], Lab], tmp_path: Path) -> None:
    lab = space("first")
    assert lab.deposits.look("visitor-x") == {}
    lab.deposits.came("visitor-x")
    with pytest.raises(LabError, match="signed in"):
        lab.deposits.begin("visitor-x")
    own = scripted(ATELIER_HOME=str(tmp_path / "own"))
    own.token = lambda owner: ANN
    assert own.deposits.look(WHO) == {}
    own.close()


def test_trouble_is_told_and_a_public_place_refused(hub: Hub, space: Callable[[str], Lab]) -> None:
    lab = space("first")
    hub.add("datasets", "ann/atelier-runs")
    with pytest.raises(BadInput, match="read by everybody"):
        lab.deposits.begin(WHO)
    hub.repositories.pop(KEPT)
    lab.deposits.begin(WHO)
    ran(lab)
    hub.faults.append(("commit|preupload", 403, 1))
    lab.deposits._all()
    assert "403" in lab.deposits.look(WHO)["trouble"]
    lab.deposits._all()
    assert lab.deposits.look(WHO)["trouble"] == ""
    assert lab.deposits.look(WHO)["kept"] > 0


def test_a_disk_without_room_keeps_the_newest(space: Callable[[str], Lab], monkeypatch: pytest.MonkeyPatch) -> None:
    lab = space("first")
    old, new = ran(lab), ran(lab)
    monkeypatch.setattr("backend.deposits.MOST", 9000)
    lab.deposits.begin(WHO)
    assert lab.deposits.look(WHO)["left"] == 1
    shutil.rmtree(lab.store.home / "runs" / new.id)
    kept = {name.split("/")[1] for name, *_ in lab.deposits._found(WHO, lab.deposits._of(WHO))}
    assert kept == {old.id}
