"""ZeroGPU's other half: what is done in a process forked from the server, which has the GPU for some seconds.

This file is imported only on ZeroGPU, by app.py and before everything heavy, because `spaces` must come before torch.
A worker is kept for later calls. What it needs is handed over as plain values; what it makes of a run it writes into
the run's own log, so nothing is lost when it is killed.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import spaces

from backend import events as ev
from backend.errors import Broken, LabError
from backend.journal import Log
from backend.quota import refusal
from backend.recipes.process import ENVIRONMENT
from backend.slices import deadline
from backend.store import Store

log = logging.getLogger("atelier")
_BLOCKS = {"FluxTransformer2DModel": "zerogpu-aoti/FLUX.1", "QwenImageTransformer2DModel": "zerogpu-aoti/Qwen-Image"}


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


@cache
def _settled() -> None:
    """Have torch replace its pool of threads, which a fork leaves broken, while one thread alone can meet it.

    Else the first two that load weights at once can: "Invalid thread pool!", if the server had computed before.
    """
    torch: Any = importlib.import_module("torch")
    torch.set_num_threads(torch.get_num_threads())


def _with_blocks(pipeline: Any, say: Callable[[str], None]) -> None:
    """Have a transformer's blocks as they were compiled ahead of time for this GPU, where there are such.

    That they are quicker is untried: there is no ZeroGPU here. Where they are of no use it draws as it is, and says so.
    """
    from backend.engines.model_files import first_line  # noqa: PLC0415 - in the worker alone
    from backend.engines.spread import Quick  # noqa: PLC0415

    for part in ("transformer", "unet"):
        module: Any = getattr(pipeline, part, None)
        if repository := _BLOCKS.get(type(module).__name__):
            try:
                spaces.aoti_blocks_load(module, repository)
            except Exception as error:
                log.exception("the blocks of %s are of no use here", repository)
                say(f"The blocks compiled ahead of time can't be used ({first_line(error)}), so it draws as it is")
            else:
                blocks = [one for one in module.modules() if type(one).__name__ in module._repeated_blocks]
                Quick(blocks, "forward", say)


@spaces.GPU(duration=_declared)  # type: ignore[untyped-decorator]
def _answer(engine: str, params: dict[str, Any], seconds: int) -> Generator[ev.Event, None, None]:
    """One answer; closing it stops within a step."""
    _settled()
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
def one_slice(home: str, run_id: str, save: float | None, seconds: int) -> Generator[str, None, None]:
    """One slice of a run. Yields once when the GPU is there, and once when the slice is over."""
    began = time.time()
    yield "granted"
    _settled()
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
