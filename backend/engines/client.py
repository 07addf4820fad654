"""The web process's end of the engine: starts the worker, hands its answers out, and brings it back when it dies."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from backend import events as ev

log = logging.getLogger("atelier.engine")

_ROOT = Path(__file__).resolve().parents[2]
_UNREAD = 512  # events of one answer that may wait for their reader
_STEADY = 60.0  # seconds of life after which a death is the first again
_LONGEST_REST = 60.0  # seconds between a death and the next start, at most
_PATIENCE = 5.0  # seconds a new answer waits for a restart; what takes longer is told at once
_FAREWELL = 3.0  # seconds to end by itself
_LONGEST_LINE = 8192  # bytes
_TAIL = 40  # last lines of stderr that are looked at when it died
_NO_MEMORY = ("MemoryError", "bad_alloc", "allocate memory", "out of memory", "failed to map segment")


class _Answer:
    """Events of one answer on their way to its reader. Pieces of text that wait together become one."""

    def __init__(self) -> None:
        self._waiting: deque[ev.Event] = deque()
        self._changed = threading.Condition()
        self.ended = False

    def put(self, event: ev.Event) -> bool:
        """False when the reader is so far behind that the answer should be closed."""
        with self._changed:
            if self.ended:
                return True
            last = self._waiting[-1] if self._waiting else None
            if isinstance(event, ev.Wrote) and isinstance(last, ev.Wrote):
                self._waiting[-1] = replace(last, text=last.text + event.text, chances=last.chances + event.chances)
            else:
                self._waiting.append(event)
            self.ended = event.ends
            self._changed.notify()
            return event.ends or len(self._waiting) < _UNREAD

    def get(self) -> ev.Event:
        with self._changed:
            while not self._waiting:
                self._changed.wait()
            return self._waiting.popleft()


class _Life:
    """One worker process from start to death: its pipes and its open answers."""

    def __init__(self, command: list[str], env: Mapping[str, str]) -> None:
        self.born = time.monotonic()
        self.answers: dict[str, _Answer] = {}
        self.tail: deque[str] = deque(maxlen=_TAIL)
        self.info: dict[str, Any] = {}
        self._writing = threading.Lock()
        self.process = subprocess.Popen(
            command,
            cwd=_ROOT,
            env=dict(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def send(self, message: dict[str, Any]) -> None:
        """To a dead process nothing is sent; its answers are told by whoever buries it."""
        assert self.process.stdin
        with self._writing, contextlib.suppress(OSError, ValueError):  # ValueError: its stdin is closed already
            self.process.stdin.write(json.dumps(message).encode() + b"\n")
            self.process.stdin.flush()

    def events(self) -> Iterator[tuple[str, ev.Event]]:
        """(id of the answer, event), until the worker closes its end."""
        assert self.process.stdout
        with self.process.stdout as lines:
            for line in lines:
                try:
                    message = json.loads(line)
                    yield message["id"], ev.typed(message["event"])
                except (ValueError, KeyError, TypeError, AttributeError):
                    log.warning("the engine said %r", line[:200])

    def drain(self) -> None:
        """Log what it prints, so that its pipe never fills."""
        assert self.process.stderr
        with self.process.stderr as lines:
            while line := lines.readline(_LONGEST_LINE):
                text = line.decode("utf-8", "replace").rstrip()
                self.tail.append(text)
                log.info("engine: %s", text)

    def end(self) -> None:
        """Ask it to end by closing its stdin; kill its process group if it does not."""
        assert self.process.stdin
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(_FAREWELL)
        except subprocess.TimeoutExpired:
            log.warning("the engine did not end by itself")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def obituary(self) -> ev.Failed:
        """How it died, for those who waited for an answer."""
        code = self.process.returncode
        how = f"with exit code {code}" if code >= 0 else f"by signal {-code} ({signal.Signals(-code).name})"
        last = "\n".join(self.tail)
        memory = code == -signal.SIGKILL or any(word in last for word in _NO_MEMORY)
        why = ", probably because memory ran out" if memory else ""
        cure = "Choose a smaller model or a shorter conversation" if memory else "Ask again"
        return ev.Failed(
            code="engine.died",
            message=f"The process that answers ended {how}{why}.",
            hint=f"It is starting again. {cure}{'; then ask again.' if memory else ' in a moment.'}",
        )


class EngineProcess:
    """The engine as the web process knows it. Every method may be called from any thread.

    The worker is started by `start`, or by the first question; with `preload` it loads the starter model at once. When
    it dies, open answers end with Failed `engine.died` and it is started again, after a growing rest if it keeps dying.
    """

    def __init__(self, env: Mapping[str, str] | None = None, preload: bool = True) -> None:
        self._env = dict(os.environ if env is None else env)
        self._command = [sys.executable, "-m", "backend.engines.worker", *(["--preload"] if preload else [])]
        self._changed = threading.Condition()
        self._life: _Life | None = None
        self._stopped = False
        self._deaths = 0  # one soon after the other
        self._next_start = 0.0
        self._timer: threading.Timer | None = None
        self._ids = itertools.count(1)

    @property
    def pid(self) -> int | None:
        """Of the living worker."""
        life = self._life
        return life.process.pid if life else None

    @property
    def info(self) -> dict[str, Any]:
        """What the worker told when it was ready: pid, device, threads, memory. Empty before."""
        life = self._life
        return life.info if life else {}

    @property
    def busy(self) -> int:
        """How many answers are open."""
        life = self._life
        return len(life.answers) if life else 0

    def start(self) -> None:
        """Start the worker if it isn't there; does not wait for it."""
        with self._changed:
            self._stopped = False
            if self._life is None and self._timer is None:
                self._begin()

    def stop(self) -> None:
        """End the worker and wait until it is gone. Open answers end with Failed `engine.stopped`."""
        with self._changed:
            self._stopped = True
            life = self._life
            if self._timer:
                self._timer.cancel()
                self._timer = None
            self._changed.notify_all()
        if life is not None:
            life.end()
            with self._changed:
                self._changed.wait_for(lambda: self._life is not life, timeout=10)

    def stream(self, engine: str, params: Mapping[str, Any], owner: str = "") -> Generator[ev.Event, None, None]:
        """The events of one answer; the last is Finished, Failed or Cancelled. Closing it stops the answer.

        `owner` tells whose answers share a place in line; any text that is the same for the same one.
        """
        return self._ask({"op": "stream", "engine": engine, "params": dict(params), "owner": owner})

    def load(self, model: str, adapter: str = "", engine: str = "text") -> Generator[ev.Event, None, None]:
        """Have a model in memory: Logged, then Finished or Failed."""
        return self._ask({"op": "load", "engine": engine, "model": model, "adapter": adapter})

    def warm(self, engine: str) -> None:
        """Have an engine get its own model ready before anybody asks; nothing waits for it."""
        if life := self._life:
            life.send({"id": "warm", "op": "warm", "engine": engine})

    def _ask(self, message: dict[str, Any]) -> Generator[ev.Event, None, None]:
        id, answer = str(next(self._ids)), _Answer()
        life = self._enter(id, answer)
        if life is None:
            yield self._absent()
            return
        try:
            life.send({"id": id} | message)
            while True:
                event = answer.get()
                yield event
                if event.ends:
                    return
        finally:
            with self._changed:
                life.answers.pop(id, None)
            if not answer.ended:
                life.send({"id": id, "op": "close"})

    def _enter(self, id: str, answer: _Answer) -> _Life | None:
        """The living worker, which knows `answer` from now on; None when there won't be one soon."""
        with self._changed:
            if self._life is None and self._timer is None and not self._stopped:
                self._begin()
            if self._life is None and not self._stopped and self._next_start - time.monotonic() < _PATIENCE:
                self._changed.wait_for(lambda: self._life is not None or self._stopped, timeout=2 * _PATIENCE)
            if self._life is not None:
                self._life.answers[id] = answer
            return self._life

    def _absent(self) -> ev.Failed:
        if self._stopped:
            return ev.Failed(code="engine.stopped", message="The engine is switched off.", hint="Restart the server.")
        wait = max(1, round(self._next_start - time.monotonic()))
        return ev.Failed(
            code="engine.died",
            message="The engine keeps ending right after its start.",
            hint=f"It is tried again in {wait} s; the server's log tells why.",
        )

    def _begin(self) -> None:
        """Start a worker; the lock is held."""
        self._timer = None
        if self._stopped:
            return
        try:
            life = _Life(self._command, self._env)
        except OSError as error:
            log.error("the engine can't be started: %s", error)
            self._rest(0)
            return
        self._life = life
        threading.Thread(target=self._live, args=(life,), daemon=True, name="engine").start()
        self._changed.notify_all()

    def _begin_again(self) -> None:
        with self._changed:
            self._begin()

    def _live(self, life: _Life) -> None:
        """Hand out what the worker says until it says no more; then bury it."""
        drain = threading.Thread(target=life.drain, daemon=True, name="engine log")
        drain.start()
        for id, event in life.events():
            if answer := life.answers.get(id):
                if not answer.put(event):
                    life.send({"id": id, "op": "close"})
                    answer.put(ev.Failed(code="engine.unread", message=f"{_UNREAD} events were left unread."))
            elif isinstance(event, ev.Started) and not id:
                life.info = event.info
                log.info("the engine is ready: %s", event.info)
            elif isinstance(event, ev.Failed):
                log.warning("the engine: %s %s", event.message, event.hint)
        life.end()
        drain.join(timeout=2)
        with self._changed:
            self._life = None
            failed = life.obituary() if not self._stopped else self._absent()
            if not self._stopped:
                log.error("%s Its last words:\n%s", failed.message, "\n".join(life.tail))
                self._rest(time.monotonic() - life.born)
            for answer in life.answers.values():
                answer.put(failed)
            self._changed.notify_all()

    def _rest(self, lived: float) -> None:
        """Begin again after a while that doubles with each early death; the lock is held."""
        self._deaths = 1 if lived > _STEADY else self._deaths + 1
        wait = min(_LONGEST_REST, 0.25 * 2 ** (self._deaths - 1))
        self._next_start = time.monotonic() + wait
        self._timer = threading.Timer(wait, self._begin_again)
        self._timer.daemon = True
        self._timer.start()
