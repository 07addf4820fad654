"""One short process for work on what strangers give: no environment, little memory, ended when it takes too long.

A module that works so has a function `answer(request, say)` and ends with `child.serve(answer)` under
`__name__ == "__main__"`. It gets one JSON line and prints JSON lines: `{"progress": [done, total]}` any number of
times, then `{"answer": …}` or `{"error": {"code", "message", "hint"}}`.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import selectors
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from backend import errors
from backend.errors import LabError, NoRoom

ROOT = Path(__file__).resolve().parents[2]
ANSWER = 64 << 20  # bytes a child may say
Say = Callable[[float, float], None]
Answer = Callable[[dict[str, Any], Say], Any]


class Stop(Protocol):
    """What says that the work is no longer wanted; a `threading.Event` is one."""

    def is_set(self) -> bool: ...


@dataclass(frozen=True)
class Limits:
    """What one piece of work may use: wall-clock seconds, bytes of address space, bytes in one written file."""

    seconds: float = 10
    memory: int = 2 << 30
    file: int = 0
    nice: int = 0  # for work that nobody waits for
    hint: str = "Ask for fewer rows or columns, or add a WHERE or a LIMIT."


def silent(done: float, total: float) -> None:
    """Progress that nobody looks at."""


def run(
    module: str,
    request: dict[str, Any],
    limits: Limits,
    say: Say = silent,
    stop: Stop | None = None,
    output: int | None = None,
) -> Any:
    """What `module` answers to `request`. `output` is an open file that it may write to and nothing else.

    Raises what the child raised, NoRoom when it ran out of memory, and LabError `stopped.time` or `stopped.owner`
    when its time is over or `stop` is set.
    """
    with _started(module, output) as process:
        assert process.stdin
        process.stdin.write(json.dumps(request | {"limits": asdict(limits), "output": output}).encode() + b"\n")
        process.stdin.close()
        for line in _lines(process, limits, stop):
            told = json.loads(line)
            if "progress" in told:
                say(*told["progress"])
            elif "error" in told:
                raise _error(**told["error"])
            elif "broken" in told:
                raise RuntimeError(f"{module} broke:\n{told['broken']}")
            else:
                return told["answer"]
    raise NoRoom(
        f"This takes more than the {limits.memory >> 20:,} MB of memory it may use.",
        limits.hint,
        "no_room.memory",
    )


@contextlib.contextmanager
def _started(module: str, output: int | None) -> Iterator[subprocess.Popen[bytes]]:
    """A spare that waits for work where there is one; it is killed, whatever happens, when the block is left."""
    process = SPARES.take(module) if output is None else start(module, output)
    try:
        yield process
    finally:
        process.kill()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                pipe.close()  # type: ignore[union-attr]
        threading.Thread(target=process.wait).start()  # giving back what it held takes a while, and nobody waits for it
        SPARES.prepare(module)  # now, so that it does not take time from this one


def start(module: str, output: int | None = None) -> subprocess.Popen[bytes]:
    """The process, waiting for its request."""
    return subprocess.Popen(
        [sys.executable, "-m", module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PYTHONPATH": str(ROOT), "PATH": os.defpath, "LANG": "C.UTF-8", "HF_HUB_OFFLINE": "1"},
        cwd="/",
        pass_fds=() if output is None else (output,),
        start_new_session=True,
    )


class Spares:
    """For the modules asked often, the next process has already started and loaded its libraries."""

    def __init__(self, modules: tuple[str, ...]) -> None:
        self._waiting: dict[str, subprocess.Popen[bytes] | None] = dict.fromkeys(modules)
        self._lock = threading.Lock()

    def take(self, module: str) -> subprocess.Popen[bytes]:
        if module not in self._waiting:
            return start(module)
        with self._lock:
            spare, self._waiting[module] = self._waiting[module], None
        if spare is not None and spare.poll() is not None:
            spare.wait()
            spare = None
        return spare or start(module)

    def prepare(self, module: str) -> None:
        """Start the next one of `module`, unless it is there or none is wanted."""
        if module in self._waiting:
            with self._lock:
                if self._waiting[module] is None:
                    self._waiting[module] = start(module)

    def close(self) -> None:
        """End those that wait. They also end by themselves when this process does."""
        with self._lock:
            for module, spare in self._waiting.items():
                if spare is not None:
                    assert spare.stdin
                    assert spare.stdout
                    spare.kill()
                    spare.stdin.close()
                    spare.stdout.close()
                    spare.wait()
                self._waiting[module] = None


SPARES = Spares(("backend.tables.sql", "backend.tables.trial"))


def _lines(process: subprocess.Popen[bytes], limits: Limits, stop: Stop | None) -> Iterator[bytes]:
    """Whole lines as they come; ends when the process does."""
    assert process.stdout
    deadline = time.monotonic() + limits.seconds
    held, size = io.BytesIO(), 0
    with selectors.DefaultSelector() as waiter:
        waiter.register(process.stdout, selectors.EVENT_READ)
        while True:
            if stop is not None and stop.is_set():
                raise LabError("Stopped.", "Nothing was changed.", "stopped.owner")
            if time.monotonic() > deadline:
                raise LabError(
                    f"This takes longer than the {limits.seconds:g} seconds it may use.",
                    limits.hint,
                    "stopped.time",
                )
            if not waiter.select(0.05):
                continue
            chunk = os.read(process.stdout.fileno(), 1 << 18)
            size += len(chunk)
            if not chunk or size > ANSWER:
                return
            *whole, rest = chunk.split(b"\n")
            for line in whole:
                yield held.getvalue() + line
                held = io.BytesIO()
            held.write(rest)


def _error(code: str, message: str, hint: str, kind: str = "LabError") -> LabError:
    found: type[LabError] = getattr(errors, kind, LabError)
    return found(message, hint, code)


# -- the child's side -------------------------------------------------------------------------------------------


def serve(answer: Answer, prepare: Callable[[], None] | None = None) -> None:
    """Be the child: read the request, give up what it must not have, print what `answer` says.

    What `prepare` does is done before there is a request: a spare that waits has it behind it.
    """
    if prepare is not None:
        prepare()
    line = sys.stdin.buffer.readline()
    if not line:
        return
    request = json.loads(line)
    _confine(Limits(**request.pop("limits")))
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no part of the answer

    def tell(what: dict[str, Any]) -> None:
        out.write(json.dumps(what, ensure_ascii=False, allow_nan=False) + "\n")
        out.flush()

    try:
        tell({"answer": answer(request, lambda done, total: tell({"progress": [done, total]}))})
    except LabError as error:
        tell(
            {
                "error": {
                    "code": error.code,
                    "message": error.message,
                    "hint": error.hint,
                    "kind": type(error).__name__,
                }
            }
        )
    except MemoryError:
        os._exit(1)
    except Exception:  # for the log of the parent, which catches the unknown
        tell({"broken": traceback.format_exc()})
    out.flush()
    os._exit(0)


def _confine(limits: Limits) -> None:
    """For good: a limit once lowered can't be raised by what runs later (root aside, who has no need to)."""
    seconds = int(limits.seconds * 8) + 5  # of all cores together; the parent watches the clock
    for what, value in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, limits.file),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 1024),
    ):
        resource.setrlimit(what, (value, value))
    os.nice(limits.nice)
