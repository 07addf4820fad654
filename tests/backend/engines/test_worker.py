from __future__ import annotations

import io
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from backend import events as ev
from backend.engines.client import EngineProcess
from backend.engines.image import ImageParams
from backend.engines.line import PLACES
from backend.engines.worker import Worker
from backend.starter import IMAGE_ID
from tests.backend.engines.hub import serving
from tests.backend.engines.talk import asks, said


class Nothing(BaseModel):
    """A request without settings."""

    name: str = ""
    ready: bool = True
    error: str = ""


class Counter:
    """An engine that writes numbers and remembers what became of its answers."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.closed: list[str] = []
        self.loading = threading.Event()

    def ready(self, request: Nothing) -> bool:
        return request.ready

    def prepare(self, request: Nothing, say: Any) -> None:
        say("one moment")
        assert self.loading.wait(10)

    def stream(self, request: Nothing) -> Generator[ev.Event, None, None]:
        try:
            for number in range(1000):
                self.steps.append(request.name)
                if number == 2 and request.error == "memory":
                    raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
                if number == 2 and request.error:
                    raise ZeroDivisionError(request.error)
                yield ev.Wrote(text=f"{number} ")
        finally:
            self.closed.append(request.name)


class Stage:
    """A Worker in this process, moved by hand."""

    def __init__(self) -> None:
        self.out = io.StringIO()
        self.engine = Counter()
        self.worker = Worker(self.out)
        self.worker._engines = {"count": (self.engine, Nothing)}

    def send(self, id: str, op: str, owner: str = "", **params: Any) -> None:
        message = {"id": id, "op": op, "engine": "count", "params": params, "owner": owner}
        self.worker._attempt(id, lambda: self.worker._obey(id, message))

    def step(self, count: int) -> None:
        for _ in range(count):
            self.worker._step()

    def heard(self, id: str) -> list[ev.Event]:
        lines = [json.loads(line) for line in self.out.getvalue().splitlines()]
        return [ev.parse(json.dumps(line["event"])) for line in lines if line["id"] == id]


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_open_answers_take_turns(stage: Stage) -> None:
    for name in "abc":
        stage.send(name, "stream", name=name)
    stage.step(7)
    assert stage.engine.steps == [*"abcabca"]


def test_pieces_that_come_quickly_go_out_together_and_none_is_lost(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: 100 + now[0])
    stage.send("a", "stream", name="a")
    for count in range(100):
        now[0] = count * 0.01
        stage.step(1)
    pieces = [event.text for event in stage.heard("a") if isinstance(event, ev.Wrote)]
    assert pieces[:2] == ["0 ", "1 2 3 "]
    assert 25 <= len(pieces) <= 34
    stage.send("a", "close")
    assert not stage.worker._out._told, "nothing is remembered of what has ended"
    assert isinstance(stage.heard("a")[-1], ev.Cancelled)
    pieces = [event.text for event in stage.heard("a") if isinstance(event, ev.Wrote)]
    assert "".join(pieces) == "".join(f"{number} " for number in range(100))


def test_who_comes_is_served_before_those_who_read(stage: Stage) -> None:
    for name in "abc":
        stage.send(name, "stream", name=name)
    stage.step(4)
    stage.send("new", "stream", name="n")
    stage.step(3)
    assert stage.engine.steps == [*"abcanbc"]


def test_who_waits_in_line_is_told_and_begins_when_another_ends(stage: Stage) -> None:
    for number in range(PLACES + 2):
        stage.send(str(number), "stream", name=str(number), owner=str(number))
    last = [stage.heard(str(number)) for number in (PLACES, PLACES + 1)]
    assert [[event.text for event in heard if isinstance(event, ev.Logged)] for heard in last] == [
        ["1 answer before yours"],
        ["2 answers before yours"],
    ]
    stage.step(2 * PLACES)
    assert set(stage.engine.steps) == {str(number) for number in range(PLACES)}
    stage.send("3", "close")
    heard = stage.heard(str(PLACES + 1))[-1]
    assert isinstance(heard, ev.Logged)
    assert heard.text == "1 answer before yours"
    stage.step(PLACES)
    assert stage.engine.steps.count(str(PLACES)) == 1


def test_close_takes_effect_before_the_next_step(stage: Stage) -> None:
    for name in "ab":
        stage.send(name, "stream", name=name)
    stage.step(5)
    stage.send("a", "close")
    assert stage.engine.closed == ["a"]
    stage.step(3)
    assert stage.engine.steps == [*"ababa", *"bbb"]
    assert isinstance(stage.heard("a")[-1], ev.Cancelled)
    stage.send("a", "close")  # twice is once
    assert len([event for event in stage.heard("a") if event.ends]) == 1


def test_one_answer_breaks_and_the_others_go_on(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage.send("bad", "stream", error="by nought")
    stage.send("good", "stream")
    stage.step(9)
    failed = stage.heard("bad")[-1]
    assert isinstance(failed, ev.Failed)
    assert (failed.code, failed.message) == ("broken", "ZeroDivisionError: by nought")
    assert "Traceback" in capsys.readouterr().err
    assert stage.engine.steps.count("") >= 6


def test_memory_that_runs_out_is_told_as_such(stage: Stage) -> None:
    stage.send("a", "stream", error="memory")
    stage.step(3)
    failed = stage.heard("a")[-1]
    assert isinstance(failed, ev.Failed)
    assert failed.code == "no_room"
    assert "smaller model" in failed.hint


def test_answers_go_on_while_a_model_loads(stage: Stage) -> None:
    stage.send("waits", "stream", name="w", ready=False)
    stage.send("closed", "stream", name="c", ready=False)
    stage.send("goes", "stream", name="g")
    stage.step(5)
    assert stage.engine.steps == [*"ggggg"]
    stage.send("closed", "close")
    assert isinstance(stage.heard("closed")[-1], ev.Cancelled)
    stage.engine.loading.set()
    stage.worker._attempt(*stage.worker._inbox.get(timeout=10))
    stage.step(2)
    assert stage.engine.steps == [*"ggggg", *"wg"]
    assert stage.heard("waits")[0] == ev.Logged(at=stage.heard("waits")[0].at, text="one moment")


@pytest.mark.parametrize(
    "message", [{"op": "warm"}, {"op": "load"}, {"op": "load", "model": "mine"}], ids=["warm", "load", "load mine"]
)
def test_what_draws_is_got_ready_by_the_thread_that_draws(stage: Stage, message: dict[str, Any]) -> None:
    did: queue.SimpleQueue[tuple[str, ...]] = queue.SimpleQueue()

    class Painter:
        def warm(self) -> None:
            did.put(("warm", threading.current_thread().name))

        def load(self, model: str, adapter: str, say: Any) -> None:
            did.put(("load", threading.current_thread().name, model))

    stage.worker._engines["image"] = (Painter(), ImageParams)
    stage.worker._attempt("x", lambda: stage.worker._obey("x", message | {"engine": "image"}))
    asked = ("load", "drawing", message.get("model", IMAGE_ID)) if message["op"] == "load" else ("warm", "drawing")
    assert did.get(timeout=10) == asked


@pytest.mark.parametrize(
    ("message", "part"),
    [
        ({"op": "dance"}, "'dance' is unknown"),
        ({}, "None is unknown"),
        ({"op": "stream", "engine": "smell"}, "no engine 'smell'"),
        ({"op": "stream", "engine": "count", "params": {"ready": "perhaps"}}, "ready is 'perhaps'"),
    ],
)
def test_what_can_not_be_obeyed(stage: Stage, message: dict[str, Any], part: str) -> None:
    stage.worker._attempt("x", lambda: stage.worker._obey("x", message))
    (failed,) = stage.heard("x")
    assert isinstance(failed, ev.Failed)
    assert part in failed.message


# -- the real process -----------------------------------------------------------------------------------------------


class Talk:
    """A worker at the other end of two pipes, without our client."""

    def __init__(self, code: str = "from backend.engines.worker import main; main()", **env: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | env,
            start_new_session=True,
        )

    def send(self, line: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def lines(self) -> Iterator[dict[str, Any]]:
        assert self.process.stdout
        return map(json.loads, self.process.stdout)


@pytest.fixture(scope="module")
def noisy(tiny: Path) -> Iterator[tuple[Talk, list[dict[str, Any]]]]:
    """A worker whose engine prints to stdout in three ways, sent garbage and then an honest request."""
    talk = Talk(
        "import os, sys\n"
        "from backend.engines import text, worker\n"
        "load = text.TextEngine.prepare\n"
        "def noisy(*args):\n"
        "    print('stray print'); sys.stdout.flush(); os.write(1, b'stray bytes'); os.system('echo stray child')\n"
        "    return load(*args)\n"
        "text.TextEngine.prepare = noisy\n"
        "worker.main()\n"
    )
    for garbage in (b"", b"{", b"\xff\xfe\x00", b"[]", b"3", b'{"op": "stream"}', b'{"id": 7}', b"x" * 100_000):
        talk.send(garbage)
    params = asks(tiny, max_new_tokens=5).model_dump()
    talk.send(json.dumps({"id": "a", "op": "stream", "engine": "text", "params": params}).encode())
    heard = []
    for line in talk.lines():
        heard.append(line)
        if line["id"] == "a" and line["event"]["type"] in ("Finished", "Failed"):
            break
    yield talk, heard
    talk.process.kill()
    talk.process.communicate()


def test_garbage_is_told_and_does_no_harm(noisy: tuple[Talk, list[dict[str, Any]]]) -> None:
    _, heard = noisy
    failed = [line["event"] for line in heard if line["id"] == "" and line["event"]["type"] == "Failed"]
    assert len(failed) == 8
    assert all(event["code"] == "input.invalid" and "can't be read" in event["message"] for event in failed)
    assert heard[-1]["event"]["type"] == "Finished"


def test_it_says_when_it_is_ready(noisy: tuple[Talk, list[dict[str, Any]]]) -> None:
    talk, heard = noisy
    (started,) = [line["event"] for line in heard if line["id"] == "" and line["event"]["type"] == "Started"]
    assert started["info"]["pid"] == talk.process.pid
    assert started["info"]["device"] in ("cpu", "cuda", "mps")
    assert started["info"]["memory"] > 0


def test_stray_prints_stay_off_the_wire_and_the_end_of_stdin_ends_it(
    noisy: tuple[Talk, list[dict[str, Any]]],
) -> None:
    """Ends while an answer runs, at once."""
    talk, heard = noisy
    assert all(line.keys() == {"id", "event"} for line in heard)
    params = {"messages": [{"role": "user", "content": "?"}], "max_new_tokens": 8000}
    talk.send(json.dumps({"id": "b", "op": "stream", "engine": "text", "params": params}).encode())
    start = time.monotonic()
    out, err = talk.process.communicate(timeout=20)
    assert talk.process.returncode == 0
    assert time.monotonic() - start < 5
    assert b"stray" not in out
    assert {b"stray print", b"stray child"} <= set(err.replace(b"stray bytes", b"").splitlines())


def test_a_memory_limit_refuses_what_does_not_fit(tiny: Path, tmp_path: Path) -> None:
    """A model of 30 GB, on paper, under a limit of 16 GB; the worker lives on."""
    large = shutil.copytree(tiny, tmp_path / "large")
    with (large / "model-2.safetensors").open("wb") as file:
        file.truncate(30_000_000_000)
    process = EngineProcess(os.environ | {"ATELIER_MEMORY_LIMIT": "16"}, preload=False)
    try:
        *_, failed = process.stream("text", asks(large).model_dump())
        pid, memory = process.pid, process.info["memory"]
        said(process.stream("text", asks(tiny).model_dump()))
        assert process.pid == pid
    finally:
        process.stop()
    assert isinstance(failed, ev.Failed)
    assert failed.code == "no_room", failed
    assert f"{large} needs " in failed.message
    assert "GB of memory to load, and " in failed.message
    assert memory < 16e9


def test_a_model_of_the_hub(tiny: Path, tmp_path: Path) -> None:
    """Fetched once; refused before it is fetched when it can't fit; and answering without the Hub afterwards."""
    with serving(tiny) as (address, fetched):
        env = os.environ | {"HF_HOME": str(tmp_path), "HF_ENDPOINT": address}
        process = EngineProcess(env, preload=False)
        try:
            text = said(process.stream("text", asks("org/tiny").model_dump()))
            assert "model.safetensors" in fetched
            *_, gated = process.stream("text", asks("gated/model").model_dump())
            fetched.clear()
            *_, large = process.stream("text", asks("org/large").model_dump())
            process.stop()
            process._env["HF_ENDPOINT"] = "http://127.0.0.1:9"
            process.start()
            assert said(process.stream("text", asks("org/tiny").model_dump())) == text
        finally:
            process.stop()
    assert isinstance(gated, ev.Failed)
    assert gated.code == "hub.gated"
    assert isinstance(large, ev.Failed)
    assert large.code == "no_room"
    assert large.message.startswith("org/large needs 100000.3 GB of memory to load, and ")
    assert not any(name.endswith(".safetensors") for name in fetched)
