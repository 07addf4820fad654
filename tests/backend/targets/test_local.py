"""Real processes: keeper and a recipe that counts."""

import json
import os
import signal
import time

import psutil
import pytest

from backend import events as ev
from backend.jobs import Job, fold
from backend.targets import local
from backend.targets.local import Local, alive


@pytest.fixture
def target(tmp_path):
    target = Local(tmp_path, "cpu", recipes="tests.backend.targets.recipes")
    yield target
    for run in target.store.runs("ann"):
        target.cancel(run, save=False)
    wait(lambda: not any(alive(run) for run in target.store.runs("ann")))


def wait(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def launch(target, **params):
    job = Job("count", {"steps": 5, **params}, "local", "ann")
    run = target.store.add(job, job.params)
    target.start(run)
    return run


def events(run):
    return ev.read(run.log)[0]


def state(target, run):
    waiting = target.ahead(run) is not None
    living = not waiting and target.alive(run)
    return fold(events(run)).state(alive=living, waiting=waiting, stop=run.stop)


def recipe_process(run):
    keeper = psutil.Process(json.loads((run.folder / "process.json").read_text())["pid"])
    wait(lambda: keeper.children())
    return keeper.children()[0]


def test_a_run_from_start_to_finish(target):
    run = launch(target)
    wait(lambda: state(target, run) == "finished")
    told = events(run)
    assert isinstance(told[0], ev.Started)
    assert [e.step for e in told if isinstance(e, ev.Measured)] == [1, 2, 3, 4, 5]
    assert ev.Wrote in {type(e) for e in told}
    assert fold(told).metrics["train_loss"] == 1 / 5
    assert target.store.line("cpu") == []


def test_it_is_detached(target):
    run = launch(target, pause=0.2)
    wait(lambda: state(target, run) == "running" and events(run))
    keeper = psutil.Process(json.loads((run.folder / "process.json").read_text())["pid"])
    assert os.getsid(keeper.pid) == keeper.pid != os.getsid(0)


def test_first_come_first_served(target):
    first, second, third = (launch(target, steps=10) for _ in range(3))
    assert (target.ahead(first), target.ahead(second), target.ahead(third)) == (None, 1, 2)
    wait(lambda: state(target, third) == "finished")
    starts = [events(run)[0].at for run in (first, second, third)]
    ends = [events(run)[-1].at for run in (first, second, third)]
    assert ends[0] <= starts[1]
    assert ends[1] <= starts[2]


def test_stop_and_save_then_resume(target):
    run = launch(target, steps=30, pause=0.05)
    wait(lambda: fold(events(run)).step >= 3)
    target.cancel(run, save=True)
    assert state(target, run) in ("stopping", "paused")
    wait(lambda: state(target, run) == "paused")
    at = fold(events(run)).step
    target.start(run)
    wait(lambda: state(target, run) == "finished")
    steps = [e.step for e in events(run) if isinstance(e, ev.Measured)]
    assert steps == list(range(1, 31))
    assert [e.step for e in events(run) if isinstance(e, ev.Started)] == [0, at]


def test_cancel_ends_it_at_once(target):
    run = launch(target, steps=1000, pause=0.05)
    child = recipe_process(run)
    target.cancel(run, save=False)
    wait(lambda: state(target, run) == "cancelled", 5)
    assert not child.is_running()
    assert isinstance(events(run)[-1], ev.Cancelled)


def test_cancel_while_waiting(target):
    first, second = launch(target, steps=50), launch(target)
    target.cancel(second, save=True)
    assert state(target, second) == "cancelled"
    assert state(target, first) == "running"
    assert not (second.folder / "process.json").exists()


def test_a_killed_recipe_is_told_and_the_next_one_starts(target):
    run, after = launch(target, steps=1000, pause=0.02), launch(target)
    recipe_process(run).kill()
    wait(lambda: state(target, run) == "failed")
    assert fold(events(run)).error["code"] == "killed"
    assert "memory" in fold(events(run)).error["message"]
    wait(lambda: state(target, after) == "finished")


def test_a_killed_keeper_takes_its_recipe_along_and_can_be_resumed(target):
    run = launch(target, steps=20, pause=0.05)
    child = recipe_process(run)
    wait(lambda: fold(events(run)).step >= 2)
    os.kill(child.ppid(), signal.SIGKILL)
    wait(lambda: state(target, run) == "failed")
    wait(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)
    target.tend()
    assert target.store.line("cpu") == []
    target.start(run)
    wait(lambda: state(target, run) == "finished")
    steps = [e.step for e in events(run) if isinstance(e, ev.Measured)]
    assert sorted(set(steps)) == list(range(1, 21))


def test_exit_without_a_word(target):
    run = launch(target, exit_at=2)
    wait(lambda: state(target, run) == "failed")
    assert "exit code 7" in fold(events(run)).error["message"]


def test_secrets_in_the_output_are_not_stored(tmp_path):
    target = Local(tmp_path, "cpu", {**os.environ, "HF_TOKEN": "very-secret-value"}, "tests.backend.targets.recipes")
    run = launch(target, say="token is very-secret-value and hf_abcdefghijklmnopqrst")
    wait(lambda: state(target, run) == "finished")
    text = run.log.read_text()
    assert "token is ••• and •••" in text
    assert "very-secret-value" not in text


def test_a_recycled_pid_is_not_taken_for_the_run(target):
    run = launch(target)
    wait(lambda: state(target, run) == "finished")
    (run.folder / "process.json").write_text(json.dumps({"pid": os.getpid(), "started": "another boot:1"}))
    assert not alive(run)
    local.note_process(run)
    assert alive(run)
    (run.folder / "process.json").unlink()  # or the clean-up would end this very process


def test_taken_but_never_started_starts_again(target):
    """The server died between taking a run from the line and starting it."""
    job = Job("count", {"steps": 2}, "local", "ann")
    run = target.store.add(job, job.params)
    target.store.enqueue(run, "cpu")
    target.store.take(run.id)
    assert state(target, run) == "queued"
    target.tend()
    wait(lambda: state(target, run) == "finished")


def test_a_half_written_line_does_not_swallow_the_next(target):
    run = launch(target)
    wait(lambda: state(target, run) == "finished")
    with run.log.open("a") as file:
        file.write('{"type": "Measured", "st')
    target.start(run)
    wait(lambda: state(target, run) == "finished" and not target.alive(run))
    assert [e.step for e in events(run) if isinstance(e, ev.Started)] == [0, 5]


def test_two_people_press_run_at_once(target):
    """Two servers' worth of targets on one folder: each run is started once."""
    other = Local(target.store.home, "cpu", recipes="tests.backend.targets.recipes")
    runs = [launch(t, steps=3) for t in (target, other, target, other)]
    wait(lambda: all(state(target, run) == "finished" for run in runs))
    assert all(sum(isinstance(e, ev.Started) for e in events(run)) == 1 for run in runs)


def test_a_run_gets_the_secrets_it_was_given_and_the_next_one_does_not(target):
    """The keeper starts who waits next, and must not hand on what was not theirs."""
    value = "of-the-highest-order"
    target.granted = lambda run: {"WANDB_KEY": value}
    first = target.store.add(Job("count", {"steps": 3}, "local", "ann"), {"steps": 3, "tell": "WANDB_KEY"})
    (first.folder / "grants.json").write_text('["WANDB_KEY", "GONE"]')
    second = target.store.add(Job("count", {"steps": 3}, "local", "ann"), {"steps": 3, "tell": "WANDB_KEY"})
    target.start(first)
    target.start(second)
    wait(lambda: state(target, second) == "finished")
    said = [one.text for run in (first, second) for one in events(run) if isinstance(one, ev.Wrote)]
    assert said == ["WANDB_KEY has 20 characters: •••", "WANDB_KEY has 0 characters: "]
    assert value not in first.log.read_text()
    assert "The secret GONE is gone" in first.log.read_text()


def test_a_run_with_secrets_is_begun_by_the_server_alone(target):
    run = target.store.add(Job("count", {"steps": 3}, "local", "ann"), {"steps": 3})
    (run.folder / "grants.json").write_text('["WANDB_KEY"]')
    target.start(run)
    assert target.ahead(run) == 0
    target.granted = lambda run: {"WANDB_KEY": "x"}
    target.tend()
    wait(lambda: state(target, run) == "finished")
