import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from backend.errors import BadInput, HomeInUse, NoRoom, NotFound
from backend.jobs import Job
from backend.store import Claim, Store, room, write

JOB = Job("sft", {"max_steps": 3}, "local", "ann")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def test_a_run_is_found_again(store):
    run = store.add(JOB, {"max_steps": 3, "model": "/somewhere"}, parent="abcd")
    again = Store(store.home).run(run.id)
    assert (again.job, again.parent, again.folder) == (JOB, "abcd", run.folder)
    assert json.loads((run.folder / "params.json").read_text())["model"] == "/somewhere"
    assert json.loads((run.folder / "job.json").read_text())["owner"] == "ann"


def test_unknown_run(store):
    with pytest.raises(NotFound, match="no run 'zzzz'"):
        store.run("zzzz")


def test_newest_first_and_only_the_owners(store):
    mine = [store.add(JOB, {}).id for _ in range(5)]
    store.add(Job("sft", {}, "local", "bob"), {})
    assert [run.id for run in store.runs("ann")] == mine[::-1]
    assert [run.id for run in store.runs("ann", limit=2, offset=1)] == mine[::-1][1:3]
    assert store.count("ann") == 5


def test_line_is_first_come_first_served_per_device(store):
    runs = [store.add(JOB, {}) for _ in range(3)]
    for run in runs:
        store.enqueue(run, "cpu")
    store.enqueue(runs[0], "cpu")  # twice is once
    assert store.line("cpu") == [(run.id, False) for run in runs]
    assert store.line("cuda:0") == []
    store.take(runs[0].id)
    assert store.line()[0] == (runs[0].id, True)
    assert store.leave(runs[0].id)
    assert not store.leave(runs[0].id)


def test_many_writers_at_once(store):
    def add():
        for _ in range(20):
            store.enqueue(Store(store.home).add(JOB, {}), "cpu")

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.count("ann") == len({run for run, _ in store.line("cpu")}) == 160


def test_summaries_are_remembered_with_their_sizes(store):
    first, second, third = (store.add(JOB, {}).id for _ in range(3))
    assert store.summaries([first, second]) == {}
    store.remember({first: ({"step": 3}, 100), second: ({"step": 4}, 200)})
    assert store.summaries([first, third]) == {first: ({"step": 3}, 100)}
    assert store.summaries([]) == {}


def test_upload_belongs_to_its_owner(store, tmp_path):
    file = tmp_path / "f"
    file.write_text("hello")
    name = store.upload("ann", file, "../../Täg <b>.jsonl")
    assert "/../" not in name
    assert store.uploaded(name, "ann").read_text() == "hello"
    assert store.uploaded(name, "ann").is_relative_to(store.home / "uploads")
    assert store.uploads("ann") == [name]
    assert store.uploads("bob") == []
    for who, what in (("bob", name), ("ann", "upload/nope/x"), ("ann", name + "/../../x")):
        with pytest.raises(NotFound):
            store.uploaded(what, who)


def test_a_name_of_dots_is_refused(store, tmp_path):
    (tmp_path / "f").write_text("x")
    with pytest.raises(BadInput, match="no usable letters"):
        store.upload("ann", tmp_path / "f", "...")


def test_a_second_server_is_told_who_holds_the_folder(tmp_path):
    held = Claim(tmp_path)
    with pytest.raises(HomeInUse, match=r"process \d+.*ATELIER_HOME"):
        Claim(tmp_path)
    held.close()
    Claim(tmp_path).close()


def test_a_killed_server_lets_go(tmp_path):
    code = "import sys, time, pathlib; from backend.store import Claim; c = Claim(pathlib.Path(sys.argv[1]))"
    code += "; print('ok', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as child:
        assert child.stdout.readline() == b"ok\n"
        with pytest.raises(HomeInUse):
            Claim(tmp_path)
        child.kill()
    Claim(tmp_path).close()


def test_no_room_is_said_before_anything_is_written(tmp_path):
    with pytest.raises(NoRoom, match="MB are needed"), room(tmp_path, 1 << 60):
        pytest.fail("must not get here")


def test_a_real_full_disk(tmp_path):
    """/dev/full refuses every write, as a full disk does."""
    with pytest.raises(NoRoom, match="No space left"), room(tmp_path), Path("/dev/full").open("w") as file:
        file.write("x")
        file.flush()


def test_write_replaces_whole(tmp_path):
    path = tmp_path / "a.json"
    write(path, {"n": 1})
    write(path, {"n": 2})
    assert json.loads(path.read_text()) == {"n": 2}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("home", ["/proc/nope", "/dev/null/x"])
def test_a_folder_that_cannot_be_is_named(home):
    with pytest.raises(NoRoom, match=f"{home} can't be written.*ATELIER_HOME"):
        Claim(Path(home))
