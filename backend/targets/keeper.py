"""Keeps one run: starts the recipe, writes the event log, notes how it ended, then starts who waits next.

    python -m backend.targets.keeper HOME RUN DEVICE RECIPES

It is its own session, so neither the page nor the server going away touches it. SIGTERM cancels the run.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO

from backend import events as ev
from backend.jobs import Run
from backend.journal import Log
from backend.recipes import together
from backend.store import Store
from backend.targets.local import Local, note_process

ROOT = Path(__file__).resolve().parents[2]
GRACE = 3.0  # seconds between asking and killing


def main(home: Path, run_id: str, device: str, recipes: str) -> int:
    """Returns the recipe's exit code."""
    store = Store(home)
    run = store.run(run_id)
    note_process(run)
    try:
        return keep(run, recipes, together.gpus(os.environ) if device.startswith("cuda") else 1)
    finally:
        store.leave(run_id)
        theirs = {name: value for name, value in os.environ.items() if name not in run.grants}
        Local(home, device, theirs, recipes).tend()


def keep(run: Run, recipes: str, devices: int = 1) -> int:
    """Run the recipe to its end, on all `devices` together where it can, copying what it prints into the log."""
    log = Log(run)
    cancelled = False
    child: subprocess.Popen[bytes] | None = None

    def cancel(_signal: int, _frame: FrameType | None) -> None:
        nonlocal cancelled
        cancelled = True
        if child is not None:
            _signal_group(child, signal.SIGTERM)
            signal.setitimer(signal.ITIMER_REAL, GRACE)

    def kill(_signal: int, _frame: FrameType | None) -> None:
        if child is not None:
            _signal_group(child, signal.SIGKILL)

    def reap(_signal: int, _frame: FrameType | None) -> None:
        if child is not None and child.poll() is not None:
            _signal_group(child, signal.SIGKILL)  # helpers it left behind would hold the pipe open

    signal.signal(signal.SIGTERM, cancel)
    signal.signal(signal.SIGALRM, kill)
    signal.signal(signal.SIGCHLD, reap)
    sharding, why = together.sharding(os.environ, run.job.recipe)
    if devices > 1 and why:
        log.add(ev.Logged(level="warning", text=f"{why} Each process has the whole model."))
    child = subprocess.Popen(
        together.command(f"{recipes}.{run.job.recipe}", str(run.folder / "params.json"), devices, sharding=sharding),
        cwd=ROOT,
        env=os.environ | together.seen(os.environ, devices),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0,
        preexec_fn=_settle,
    )
    if cancelled:
        cancel(signal.SIGTERM, None)
    assert child.stdout is not None
    closing: ev.Event | None = None
    for line in _lines(child.stdout):
        event = ev.parse(line)
        if cancelled and event.ends:
            continue  # what it says while being cancelled is not its end
        if not log.add(event):
            _signal_group(child, signal.SIGKILL)
        closing = event if event.ends else None if isinstance(event, ev.Started) else closing
    code = child.wait()
    signal.setitimer(signal.ITIMER_REAL, 0)
    if log.full:
        log.add_last(
            ev.Failed(
                code="no_room.disk",
                message=f"The disk of {run.folder.parent.parent} is full.",
                hint="Free some space, then press Resume.",
            )
        )
    elif cancelled:
        log.add(ev.Cancelled(reason="cancelled by its owner"))
    elif closing is None:
        log.add(_how_it_died(code))
    return code


def _how_it_died(code: int) -> ev.Failed:
    if code == -signal.SIGKILL:
        return ev.Failed(
            code="killed",
            message="The training process was killed (signal 9), most often because memory ran out.",
            hint="Resume goes on from the last checkpoint. If it is killed again, clone it with a smaller batch or a "
            "shorter max_length.",
        )
    how = f"signal {-code} ({signal.Signals(-code).name})" if code < 0 else f"exit code {code}"
    return ev.Failed(
        code="died",
        message=f"The training process ended without a result ({how}).",
        hint="The log has its last words. Resume goes on from the last checkpoint.",
    )


def _lines(pipe: IO[bytes], longest: int = 1 << 20) -> Iterator[str]:
    """Lines as they come, a carriage return ending one too (progress bars), cut at `longest` bytes."""
    rest = b""
    while chunk := os.read(pipe.fileno(), 1 << 16):
        *whole, rest = (rest + chunk).replace(b"\r", b"\n").split(b"\n")
        if len(rest) > longest:
            whole, rest = [*whole, rest], b""
        yield from (line.decode("utf-8", "replace") for line in whole if line.strip())
    if rest.strip():
        yield rest.decode("utf-8", "replace")


def _signal_group(child: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


def _settle() -> None:
    """In the child, before the recipe: give way to the page and its answers, and end when the keeper does.

    Elsewhere than on Linux the closed pipe ends it at its next line.
    """
    os.nice(10)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:5]))
