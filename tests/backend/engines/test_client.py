from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from backend import events as ev
from backend.engines.client import _UNREAD, EngineProcess, _Answer
from tests.backend.engines.talk import asks, said


def request(tiny: Path, message: str = "Hello?", **settings: Any) -> dict[str, Any]:
    return asks(tiny, message, **settings).model_dump()


def wait(condition: Callable[[], Any], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_many_answers_at_once(worker: EngineProcess, tiny: Path) -> None:
    """Each caller hears its own answer, whole, and all of them move together."""
    messages = [f"Number {number}" for number in range(6)]
    alone = {message: said(worker.stream("text", request(tiny, message))) for message in messages}
    heard: dict[str, list[ev.Event]] = {}

    def listen(message: str) -> None:
        heard[message] = list(worker.stream("text", request(tiny, message)))

    threads = [threading.Thread(target=listen, args=(message,)) for message in messages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {message: said(events) for message, events in heard.items()} == alone
    assert worker.busy == 0


def test_closing_an_answer_stops_it(worker: EngineProcess, tiny: Path) -> None:
    answer = worker.stream("text", request(tiny, "x", max_new_tokens=400, temperature=1, seed=9))
    for event in answer:
        if isinstance(event, ev.Wrote):
            break
    assert worker.busy == 1
    answer.close()
    assert worker.busy == 0
    said(worker.stream("text", request(tiny, max_new_tokens=2)))


def test_errors_come_as_failed(worker: EngineProcess, tiny: Path, tmp_path: Path) -> None:
    cases = {
        "input.invalid": ("text", request(tiny) | {"temperature": 9}),
        "not_found": ("text", request(tiny) | {"model": str(tmp_path / "nothing")}),
        "hub.unreachable": ("text", request(tiny) | {"model": "somebody/something"}),
    }
    for code, (engine, params) in cases.items():
        *_, failed = worker.stream(engine, params)
        assert isinstance(failed, ev.Failed)
        assert failed.code == code
        assert failed.message


def test_a_model_can_be_loaded_ahead(worker: EngineProcess, tiny: Path, lora: Path) -> None:
    *_, finished = worker.load(str(tiny), str(lora))
    assert isinstance(finished, ev.Finished)
    first, *_ = worker.stream("text", request(tiny, adapter=str(lora)))
    assert isinstance(first, ev.Started)  # no loading was logged before it


def test_inspection(worker: EngineProcess, tiny: Path) -> None:
    params = {"messages": [{"role": "user", "content": "Hi"}], "model": str(tiny), "adapter": ""}
    *_, finished = worker.stream("inspect", params)
    assert isinstance(finished, ev.Finished)
    assert finished.values["prompt"].startswith("<|im_start|>user\nHi")


def test_when_it_is_killed_all_who_wait_are_told_and_it_comes_back(
    worker: EngineProcess, tiny: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said(worker.stream("text", request(tiny, max_new_tokens=1)))
    old = worker.pid
    assert old
    last: list[ev.Event] = []

    def listen() -> None:
        events = list(worker.stream("text", request(tiny, "x", max_new_tokens=450, temperature=1, seed=1)))
        last.append(events[-1])

    os.kill(old, signal.SIGSTOP)  # so that no answer can end before
    threads = [threading.Thread(target=listen) for _ in range(3)]
    for thread in threads:
        thread.start()
    wait(lambda: worker.busy == 3)
    os.kill(old, signal.SIGKILL)
    for thread in threads:
        thread.join(20)
    assert len(last) == 3
    for failed in last:
        assert isinstance(failed, ev.Failed)
        assert failed.code == "engine.died"
        assert "signal 9 (SIGKILL), probably because memory ran out" in failed.message
        assert "starting again" in failed.hint
    assert "signal 9" in caplog.text
    said(worker.stream("text", request(tiny)))
    assert worker.pid != old
    assert worker.info["pid"] == worker.pid


@contextlib.contextmanager
def running(code: str) -> Iterator[EngineProcess]:
    """An engine whose worker is a few lines of Python."""
    process = EngineProcess(os.environ, preload=False)
    process._command = [sys.executable, "-S", "-c", code]
    try:
        yield process
    finally:
        process.stop()


def test_one_that_keeps_dying_is_not_started_in_a_hot_loop(tmp_path: Path) -> None:
    births = tmp_path / "births"
    code = f"import sys; open({str(births)!r}, 'a').write('x'); print('MemoryError', file=sys.stderr); sys.exit(3)"
    with running(code) as process:
        process.start()
        start = time.monotonic()
        heard = [list(process.stream("text", {})) for _ in range(3)]
        for (failed,) in heard:
            assert isinstance(failed, ev.Failed)
            assert failed.code == "engine.died"
        assert isinstance(heard[0][0], ev.Failed)
        assert "exit code 3, probably because memory ran out" in heard[0][0].message
        time.sleep(max(0, 2 - (time.monotonic() - start)))
        assert 2 <= len(births.read_text()) <= 6
        process._next_start = time.monotonic() + 30
        if process._timer:
            process._timer.cancel()
        wait(lambda: process.pid is None)
        (failed,) = process.stream("text", {})
        assert isinstance(failed, ev.Failed)
        assert "tried again in" in failed.hint


def test_its_stderr_is_drained_and_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    code = (
        "import sys\n"
        "for _ in range(300): print('x' * 1000, file=sys.stderr)\n"
        "sys.stderr.write('y' * 100000 + '\\n')\n"
        'print(\'{"id": "", "event": {"type": "Started", "info": {"pid": 5}}}\', flush=True)\n'
        "print('nonsense', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with caplog.at_level(logging.INFO, "atelier.engine"), running(code) as process:
        process.start()
        wait(lambda: process.info)
        assert process._life
        assert len(process._life.tail) <= 40
        assert all(len(line) <= 8192 for line in process._life.tail)
        wait(lambda: "nonsense" in caplog.text)


def test_stop_ends_the_process_and_the_open_answers() -> None:
    with running("import time; time.sleep(600)") as process:  # deaf to the end of its stdin
        process.start()
        last: list[ev.Event] = []
        thread = threading.Thread(target=lambda: last.extend(process.stream("text", {})))
        thread.start()
        wait(lambda: process.busy == 1)
        pid = process.pid
        assert pid
        process.stop()
        thread.join(10)
        assert not psutil.pid_exists(pid)
        (failed,) = last
        assert isinstance(failed, ev.Failed)
        assert failed.code == "engine.stopped"
        (failed,) = process.stream("text", {})
        assert isinstance(failed, ev.Failed)
        assert failed.code == "engine.stopped"


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    """Even when the web process is killed without a word, its worker goes."""
    code = (
        "import os, time\n"
        "from backend.engines.client import EngineProcess\n"
        "process = EngineProcess(os.environ, preload=False)\n"
        "process.start()\n"
        "print(process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    wait(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, 60)


def test_text_that_waits_for_its_reader_becomes_one_piece() -> None:
    answer = _Answer()
    for number in range(10_000):
        assert answer.put(ev.Wrote(text=f"{number} "))
    assert len(answer._waiting) == 1
    answer.put(ev.Finished())
    event = answer.get()
    assert isinstance(event, ev.Wrote)
    assert event.text == "".join(f"{number} " for number in range(10_000))


def test_an_answer_that_nobody_reads_is_closed() -> None:
    answer = _Answer()
    taken = [answer.put(ev.Measured(step=step)) for step in range(_UNREAD)]
    assert taken == [True] * (_UNREAD - 1) + [False]


def test_the_client_is_light() -> None:
    """The web process pays for no engine."""
    code = "import sys, backend.engines.client; print(any(m in sys.modules for m in ('torch', 'pydantic', 'numpy')))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
