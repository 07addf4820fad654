from __future__ import annotations

import os
import threading
import time

import psutil
import pytest

from backend.errors import BadInput, LabError, NoRoom
from backend.tables import child
from backend.tables.child import Limits, Spares

MODULE = "tests.backend.tables.worker"


@pytest.mark.parametrize("value", [1, "é\n日", {"a": [None, True]}, "x" * 1_000_000])
def test_an_answer_comes_back_with_progress(value: object) -> None:
    told: list[tuple[float, float]] = []
    assert child.run(MODULE, {"do": "echo", "value": value}, Limits(), lambda *step: told.append(step)) == value
    assert told == [(1, 2), (2, 2)]


def test_errors_come_back_as_they_were() -> None:
    with pytest.raises(BadInput) as caught:
        child.run(MODULE, {"do": "refuse"}, Limits())
    assert (caught.value.message, caught.value.hint, caught.value.code) == ("No.", "Ask otherwise.", "own.code")
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        child.run(MODULE, {"do": "break"}, Limits())


@pytest.mark.parametrize("how", ["eat", "die"])
def test_death_is_told_as_memory(how: str) -> None:
    with pytest.raises(NoRoom, match="2,048 MB") as caught:
        child.run(MODULE, {"do": how}, Limits(hint="Take less."))
    assert caught.value.hint == "Take less."


def test_time_and_wish_end_it_at_once() -> None:
    stop = threading.Event()
    for limits, code in ((Limits(seconds=1), "stopped.time"), (Limits(seconds=60), "stopped.owner")):
        began = time.monotonic()
        threading.Timer(0.7, stop.set).start()
        with pytest.raises(LabError) as caught:
            child.run(MODULE, {"do": "sleep"}, limits, stop=stop if code == "stopped.owner" else None)
        assert (caught.value.code, time.monotonic() - began < 4) == (code, True)
    mine = [p for p in psutil.Process().children() if MODULE in " ".join(_command(p))]
    assert not psutil.wait_procs(mine, 5)[1]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has just ended
        return []


def test_it_prints_and_inherits_nothing(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert "HF_TOKEN" not in child.run(MODULE, {"do": "environment"}, Limits())
    assert capfd.readouterr() == ("", "")


def test_a_spare_that_died_is_no_spare() -> None:
    spares = Spares((MODULE,))
    spares.prepare(MODULE)
    first = spares._waiting[MODULE]
    assert first is not None
    os.kill(first.pid, 9)
    first.wait()
    other = spares.take(MODULE)
    assert other.pid != first.pid
    for process in (first, other):
        process.kill()
        process.wait()
        assert process.stdin
        assert process.stdout
        process.stdin.close()
        process.stdout.close()
    spares.close()
