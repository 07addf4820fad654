"""The real `spaces` client against a device API of our own; its tests run in a process that imported it first.

Here, the order of things alone, with slices that are scripted.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from backend import events as ev
from backend.errors import Refused
from backend.jobs import Job, fold
from backend.quota import Quotas
from backend.targets import zerogpu
from tests.conftest import ROOT

INSIDE = Path(__file__).with_name("inside_zerogpu.py")


@pytest.mark.flaky(reruns=1)  # slices are cut by the clock, which a busy machine may overrun; listed as RERUN
def test_inside(tmp_path):
    options = ["-q", "-x", "-p", "no:cacheprovider", "-o", "filterwarnings="]
    command = [sys.executable, "-m", "pytest", *options, str(INSIDE)]
    env = os.environ | {"ATELIER_HOME": str(tmp_path / "home")}  # so that nothing of it is left behind
    log = tmp_path / "log"
    with log.open("w") as out:  # not a pipe: a worker that was left behind would keep it open
        code = subprocess.run(command, cwd=ROOT, env=env, stdout=out, stderr=out, timeout=280).returncode
    assert code == 0, log.read_text()[-6000:]


@pytest.fixture
def target(tmp_path):
    return zerogpu.ZeroGPU(tmp_path, Quotas(), 60)


@pytest.fixture
def run(target):
    one = target.store.add(Job("sft", {}, "zerogpu", "ann"), {})
    target.start(one)
    return one


@pytest.fixture
def slices(monkeypatch):
    """Put what each slice does: events to write, or an error to raise. `asked` are the seconds of each."""
    script, asked = [], []

    def scripted(home, run_id, save, seconds):
        asked.append(seconds)
        what = script.pop(0)
        if isinstance(what, Exception):
            raise what
        yield "granted"
        log = Path(home) / "runs" / run_id / "events.jsonl"
        with log.open("a") as file:
            file.writelines(ev.encode(event) + "\n" for event in what)
        yield "over"

    monkeypatch.setattr(zerogpu, "one_slice", scripted)
    scripted.script, scripted.asked = script, asked
    return scripted


def turn(target):
    target.turn("ann")
    while target._working:
        pass


def last(run):
    return ev.read(run.log)[0][-1]


def test_a_gpu_that_counts_more_than_a_clock_is_asked_for_less(target, run, slices):
    """60 s by the clock are 90 there: with 45 left, 30 s can be had."""
    slices.script += [Refused("no", "wait", "zerogpu.quota", left=45, wait=900, asked=90), [ev.Finished()]]
    turn(target)
    turn(target)
    assert slices.asked == [60, 30]
    assert fold(ev.read(run.log)[0]).last == "Finished"
    assert target.store.line("zerogpu") == []


def test_too_little_left_rests_and_says_so(target, run, slices):
    slices.script += [Refused("Too little.", "Later.", "zerogpu.quota", left=10, wait=900, asked=60)]
    turn(target)
    assert last(run).reason == "Too little. Later."
    found = target.refused("ann")
    assert found is not None
    assert (found[0], found[1].message) == (run.id, "Too little.")
    assert target.refused("bob") is None
    assert target.turn("ann") == "", "not before there is more"
    assert not target.alive(run)
    target.start(run)  # its owner presses Resume
    slices.script += [[ev.Finished()]]
    turn(target)
    assert isinstance(last(run), ev.Finished)
    assert target.refused("ann") is None


def test_slices_that_save_nothing_end_in_a_word(target, run, slices):
    slices.script += [[ev.Started()], []]
    turn(target)
    assert isinstance(last(run), ev.Paused)
    turn(target)
    assert last(run).code == "zerogpu.too_short"
    assert target.store.line("zerogpu") == []


def test_a_cancel_between_two_slices_is_obeyed(target, run, slices):
    slices.script += [[ev.Started(), ev.Paused(step=5, reason="its slice of time is over")]]
    turn(target)
    assert target.alive(run)
    target.cancel(run, save=False)
    assert isinstance(last(run), ev.Cancelled)
    assert target.turn("ann") == ""


def test_after_a_restart_it_waits_for_its_page(target, run, slices, tmp_path):
    target.store.take(run.id)
    run.log.write_text(ev.encode(ev.Started()) + "\n")
    again = zerogpu.ZeroGPU(tmp_path, Quotas(), 60)
    assert "open this page" in last(run).reason
    assert not again.alive(run)
    slices.script += [[ev.Finished()]]
    turn(again)
    assert isinstance(last(run), ev.Finished)
