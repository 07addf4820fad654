"""ZeroGPU: a GPU that is lent for seconds, here to slices of training, each from its visitor's own quota.

A run is a chain of slices. Each is asked for by a request of its owner's page (`turn`), since ZeroGPU knows by that
request whose quota to take; it trains until its time is nearly over, saves, and is Paused until the next.
"""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from backend import events as ev
from backend.errors import Refused
from backend.jobs import Run, Status, fold
from backend.journal import Log
from backend.quota import Quotas
from backend.slices import SHORTEST, granted
from backend.store import Store
from backend.targets.gpu_worker import one_slice, refusals

DEVICE = "zerogpu"  # the name of its line
_SEEN = 70.0  # seconds after which no page of an owner is thought open; a hidden one asks once a minute
_FRUITLESS = 2  # slices without a checkpoint in a row, after which the run fails


class ZeroGPU:
    """Runs in slices. An owner has one slice at a time; whose page is open decides whose turn it is."""

    name = "zerogpu"
    device = DEVICE

    def __init__(self, home: Path, quotas: Quotas, slice_seconds: int = 55) -> None:
        self.store = Store(home)
        self.quotas = quotas
        self.slice_seconds = slice_seconds
        self._lock = threading.Lock()
        self._working: dict[str, str] = {}  # run: owner
        self._seen: dict[str, float] = {}  # owner: when a page of theirs last asked
        self._rest: dict[str, float] = {}  # run: not before
        self._most: dict[str, int] = {}  # run: seconds of a slice, where less than usual is lent
        self._fruitless: dict[str, int] = {}  # run: slices in a row that saved nothing
        self._why: dict[str, Refused] = {}  # run: why it rests
        self._recover()

    # -- what every target has ----------------------------------------------------------------------------------

    def start(self, run: Run) -> None:
        self.store.enqueue(run, DEVICE)
        self._rest.pop(run.id, None)
        self._fruitless.pop(run.id, None)

    def alive(self, run: Run) -> bool:
        """Whether a slice is at work, or the next one is about to be asked for."""
        if run.id in self._working:
            return True
        return self._taken(run.id) and self._open(run.job.owner) and time.monotonic() >= self._rest.get(run.id, 0.0)

    def ahead(self, run: Run) -> int | None:
        """How many runs of its owner come first; other owners pay for themselves."""
        if run.id in self._working:
            return None
        places = [(one, taken) for one, taken in self.store.line(DEVICE) if self._owner(one) == run.job.owner]
        names = [one for one, _ in places]
        if run.id not in names or places[names.index(run.id)][1]:
            return None
        return names.index(run.id)

    def cancel(self, run: Run, save: bool) -> None:
        with self._lock:
            run.stop_file.write_text("save" if save else "cancel")
            if run.id in self._working:  # it looks for that file at each step
                return
        if self.store.leave(run.id):
            begun = bool(self._status(run).last)
            saved = ev.Paused(reason="stopped between two slices")
            Log(run).add(saved if save and begun else ev.Cancelled(reason="cancelled by its owner"))

    def tend(self) -> None:
        """Slices begin when a page asks."""

    def refused(self, owner: str) -> tuple[str, Refused] | None:
        """(run, why) of the first run of `owner` that rests since it was refused a GPU."""
        for run_id, _ in self.store.line(DEVICE):
            if run_id in self._why and run_id not in self._working and self._owner(run_id) == owner:
                return run_id, self._why[run_id]
        return None

    def describe(self) -> str:
        return f"ZeroGPU, in slices of {self.slice_seconds} s from your own quota"

    # -- slices -------------------------------------------------------------------------------------------------

    def turn(self, owner: str) -> str:
        """A page of `owner` is open and its request is at hand: begin their next slice, if one waits.

        Waits until the GPU is there or refused. Returns the run's id, '' when nothing was to be done.
        """
        self._seen[owner] = time.monotonic()
        with self._lock:
            run = self._next(owner)
            if run is None:
                return ""
            self._working[run.id] = owner
        self.store.take(run.id)
        decided = threading.Event()
        inside = contextvars.copy_context()  # it holds the visitor's request, which ZeroGPU looks at
        threading.Thread(target=inside.run, args=(self._work, run, decided), daemon=True, name="slice").start()
        decided.wait()
        return run.id

    def _next(self, owner: str) -> Run | None:
        if owner in self._working.values():
            return None
        now = time.monotonic()
        for run_id, _ in self.store.line(DEVICE):
            if self._owner(run_id) == owner and now >= self._rest.get(run_id, 0.0):
                return self.store.run(run_id)
        return None

    def _work(self, run: Run, decided: threading.Event) -> None:
        before = self._status(run)
        seconds = self._seconds(run)
        began = 0.0
        why: Refused | None = None
        try:
            with refusals():
                for _ in one_slice(str(self.store.home), run.id, _saving(run), seconds):
                    began = began or time.monotonic()
                    decided.set()
        except Refused as refused:
            why = refused
        finally:
            if began:
                self.quotas.spent(run.job.owner, time.monotonic() - began)
            with self._lock:  # a wish to stop comes before, or finds it no longer at work
                try:
                    self._settle(run, before, seconds, why if not began else None)
                finally:
                    del self._working[run.id]
                    decided.set()

    def _seconds(self, run: Run) -> int:
        """What the next slice asks for: no more than its owner is known to have."""
        quota = self.quotas.of(run.job.owner)
        usual = min(self.slice_seconds, self._most.get(run.id, self.slice_seconds))
        return granted(usual, quota.left if quota.known else None) or usual

    def _settle(self, run: Run, before: Status, seconds: int, refused: Refused | None) -> None:
        """Say where the run stands after a slice, or after none was lent."""
        if refused:
            self._refused(run, seconds, refused)
            return
        self._why.pop(run.id, None)
        status = self._status(run)
        log = Log(run)
        saved = _saved(status) > _saved(before) or (status.last == "Paused" and status.ended != before.ended)
        if not status.ended:  # it was killed
            if run.stop == "cancel":
                log.add(ev.Cancelled(reason="cancelled by its owner"))
            else:
                log.add(ev.Paused(step=status.step, reason="ZeroGPU ended the slice; open this page to go on"))
        if run.stop or status.last in ("Finished", "Failed", "Cancelled"):
            self.store.leave(run.id)
            return
        self._fruitless[run.id] = 0 if saved else self._fruitless.get(run.id, 0) + 1
        if self._fruitless[run.id] >= _FRUITLESS:
            self.store.leave(run.id)
            log.add(
                ev.Failed(
                    code="zerogpu.too_short",
                    message=f"{_FRUITLESS} slices of {seconds} s ended before anything could be saved.",
                    hint="Take a smaller model, a smaller batch or a shorter max_length; or run it on another machine.",
                )
            )

    def _refused(self, run: Run, seconds: int, why: Refused) -> None:
        self.quotas.refused(run.job.owner, why)
        wait = why.wait
        left = why.left * seconds // why.asked if why.left is not None and why.asked else 0  # by the clock
        if why.code == "zerogpu.quota" and 0 < granted(seconds, left) < seconds:
            self._most[run.id], wait = granted(seconds, left), 0.0
        elif why.code == "zerogpu.duration" and seconds > SHORTEST:
            self._most[run.id], wait = max(SHORTEST, seconds // 2), 0.0
        else:
            self._most.pop(run.id, None)
        if run.stop:
            self.store.leave(run.id)
        if wait or run.stop:
            self._rest[run.id], self._why[run.id] = time.monotonic() + wait, why
            paused = ev.Paused(step=self._status(run).step, reason=f"{why.message} {why.hint}")
            Log(run).add(ev.Cancelled(reason="cancelled by its owner") if run.stop == "cancel" else paused)

    # -- below --------------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        """After a restart: slices that were at work have ended with the server."""
        for run_id, taken in self.store.line(DEVICE):
            run = self.store.run(run_id)
            if taken and not self._status(run).ended:
                Log(run).add(ev.Paused(reason="the Space restarted; open this page to go on"))

    def _taken(self, run_id: str) -> bool:
        return (run_id, True) in self.store.line(DEVICE)

    def _open(self, owner: str) -> bool:
        return time.monotonic() - self._seen.get(owner, -_SEEN) < _SEEN

    def _owner(self, run_id: str) -> str:
        return self.store.run(run_id).job.owner

    def _status(self, run: Run) -> Status:
        return fold(_all(run))


def _all(run: Run) -> Iterator[ev.Event]:
    cursor = 0
    while True:
        events, after = ev.read(run.log, cursor)
        yield from events
        if after == cursor:
            return
        cursor = after


def _saved(status: Status) -> int:
    """The step of the last checkpoint, 0 for none."""
    return max((one["step"] for one in status.artifacts if one["kind"] == "checkpoint"), default=0)


def _saving(run: Run) -> float | None:
    """Seconds from the last step of the run's last slice to its end: what saving takes."""
    step, took = 0.0, None
    for event in _all(run):
        if isinstance(event, ev.Progressed):
            step = event.at
        elif isinstance(event, ev.Paused) and step:
            took, step = event.at - step, 0.0
    return took
