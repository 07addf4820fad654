"""ZeroGPU: a GPU that is lent for seconds, to answers and to slices of training, each from its visitor's own quota.

This file is imported only on ZeroGPU, by app.py and before everything heavy, because `spaces` must come before torch.
A decorated function runs in a process forked from the server, which is kept for later calls. What it needs is handed
over as plain values; what it makes of a run it writes into the run's own log, so nothing is lost when it is killed.

A run is a chain of slices. Each is asked for by a request of its owner's page (`turn`), since ZeroGPU knows by that
request whose quota to take; it trains until its time is nearly over, saves, and is Paused until the next.
"""

from __future__ import annotations

import contextlib
import contextvars
import gc
import importlib
import logging
import os
import sys
import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import spaces

from backend import events as ev
from backend.errors import Broken, LabError, Refused
from backend.jobs import Run, Status, fold
from backend.journal import Log
from backend.quota import Quotas, refusal
from backend.recipes.process import ENVIRONMENT
from backend.slices import SHORTEST, deadline, granted
from backend.store import Store

log = logging.getLogger("atelier")
DEVICE = "zerogpu"  # the name of its line
_BLOCKS = {"FluxTransformer2DModel": "zerogpu-aoti/FLUX.1", "QwenImageTransformer2DModel": "zerogpu-aoti/Qwen-Image"}
_SEEN = 70.0  # seconds after which no page of an owner is thought open; a hidden one asks once a minute
_FRUITLESS = 2  # slices without a checkpoint in a row, after which the run fails


# -- in the worker ----------------------------------------------------------------------------------------------


def _declared(*given: Any) -> int:
    """Every function here is told as its last argument how long it may take."""
    return int(given[-1])


@cache
def _engines() -> dict[str, Any]:
    """The engines of this worker, which keep their models for its life."""
    from backend.engines.image import ImageParams  # noqa: PLC0415 - in the worker alone
    from backend.engines.image_engine import ImageEngine  # noqa: PLC0415
    from backend.engines.text import ChatParams, CompleteParams, TextEngine  # noqa: PLC0415

    engine = TextEngine()
    image = ImageEngine(engine.shelf, quicken=_with_blocks)
    return {"text": (engine, ChatParams), "complete": (engine, CompleteParams), "image": (image, ImageParams)}


def _with_blocks(pipeline: Any) -> None:
    """Have a transformer's blocks as they were compiled ahead of time for this GPU, where there are such.

    Untried: there is no ZeroGPU here. What goes wrong is logged, and it draws as it is.
    """
    for part in ("transformer", "unet"):
        module = getattr(pipeline, part, None)
        if repository := _BLOCKS.get(type(module).__name__):
            try:
                spaces.aoti_blocks_load(module, repository)
            except Exception:
                log.exception("the blocks of %s are of no use here", repository)


@spaces.GPU(duration=_declared)  # type: ignore[untyped-decorator]
def _answer(engine: str, params: dict[str, Any], seconds: int) -> Generator[ev.Event, None, None]:
    """One answer; closing it stops within a step."""
    try:
        from backend.recipes.params import check  # noqa: PLC0415

        mind, kind = _engines()[engine]
        request = check(kind, params)
        if not mind.ready(request):
            yield ev.Logged(text=f"Loading {request.model} onto the GPU")
            mind.prepare(request)
        yield from mind.stream(request)
    except LabError as error:
        yield ev.Failed(code=error.code, message=error.message, hint=error.hint)
    except Exception as error:
        broken = Broken(f"{type(error).__name__}: {error}", "Try again; the Space's log tells more.")
        yield ev.Failed(code=broken.code, message=broken.message, hint=broken.hint)


@spaces.GPU(duration=_declared)  # type: ignore[untyped-decorator]
def _slice(home: str, run_id: str, save: float | None, seconds: int) -> Generator[str, None, None]:
    """One slice of a run. Yields once when the GPU is there, and once when the slice is over."""
    began = time.time()
    yield "granted"
    run = Store(Path(home)).run(run_id)
    os.environ["ATELIER_UNTIL"] = str(deadline(began, seconds, save))
    os.environ["ATELIER_MEMORY_LIMIT"] = ""  # of this machine, not of the GPU's
    recipe = importlib.import_module(f"backend.recipes.{run.job.recipe}")
    process = importlib.import_module("backend.recipes.process")
    with contextlib.redirect_stdout(_Lines(Log(run))):
        process.main(recipe.Params, recipe.run, [str(run.folder / "params.json")])
    gc.collect()
    if "torch" in sys.modules:
        sys.modules["torch"].cuda.empty_cache()
    yield "over"


class _Lines:
    """What a recipe prints, into the run's log line by line."""

    encoding = "utf-8"

    def __init__(self, log: Log) -> None:
        self._log = log
        self._rest = ""
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        with self._lock:
            *whole, self._rest = (self._rest + text).replace("\r", "\n").split("\n")
            for line in whole:
                if line.strip():
                    self._log.add(ev.parse(line))
        return len(text)

    def flush(self) -> None:
        """Every line is written when it ends."""

    def isatty(self) -> bool:
        return False


# -- in the server ----------------------------------------------------------------------------------------------


def answer(engine: str, params: Mapping[str, Any], seconds: int) -> Generator[ev.Event, None, None]:
    """The events of one answer on the GPU, which is asked for `seconds`. Raises Refused."""
    with refusals():
        yield from _answer(engine, dict(params), seconds)


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """ZeroGPU's errors in our words."""
    try:
        yield
    except (LabError, GeneratorExit):
        raise
    except Exception as error:
        message = str(getattr(error, "message", error))
        raise refusal(str(getattr(error, "title", "")), message) from error


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
                for _ in _slice(str(self.store.home), run.id, _saving(run), seconds):
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


def warm() -> None:
    """Import what workers need before any is forked: each has it then without reading it again."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    for name in (
        "transformers",
        "peft",
        "trl",
        "datasets",
        "diffusers",
        "backend.engines.text",
        "backend.recipes.training",
    ):
        importlib.import_module(name)


def place(models: Sequence[str]) -> None:
    """Have `models` on the GPU before any worker is forked, so that each has them from its start.

    `image:` stands before those that draw. What can't be loaded is logged and left to the workers. All is computed by
    one thread: a worker whose parent computed with several would wait for ever for those it has not.
    """
    torch: Any = importlib.import_module("torch")
    before, several = torch.get_num_threads(), torch.set_num_threads
    several(1)
    torch.set_num_threads = lambda _: None  # the engines ask for more
    try:
        for name in models:
            engine, mark, model = name.partition(":")
            known = mark and engine in _engines()
            try:
                _engines()[engine if known else "text"][0].load(model if known else name)
            except LabError as error:
                log.warning("%s is not placed: %s %s", name, error.message, error.hint)
    finally:
        torch.set_num_threads = several
        several(before)
