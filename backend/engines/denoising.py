"""A diffusers pipeline's call, one step at a time.

The pipelines call back after each step (where one doesn't, its scheduler is watched) but are no generators. So the call
runs in a thread of its own, which works only while it is waited for: its callback hands over what there is to see and
then waits to be let on, or ends the call.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from backend.engines import openmp

Look = Callable[[Any, int, int], Any]
Mend = Callable[[Any, int, int, Any], Any]


class _Stopped(Exception):
    """Ends a pipeline's call from within its callback."""


class Denoising:
    """One picture in the making. Use it in `with`: leaving ends the call, within a step where it still works.

    `look` is given latents, steps done and all steps after each step; what it returns is handed out by `steps`. Before
    it `mend`, given the pipeline, steps done, all steps and the latents, may return other latents to go on with.
    """

    def __init__(
        self, pipeline: Any, given: Mapping[str, Any], look: Look = lambda *_: None, mend: Mend | None = None
    ) -> None:
        self._pipeline = pipeline
        self._given = dict(given)
        self._look = look
        self._mend = mend
        self._go, self._news = threading.Semaphore(0), threading.Semaphore(0)
        self._stop = False
        self._total = 0  # steps, where the pipeline doesn't say
        self._step: tuple[int, int, Any] | None = None
        self._out: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._call, daemon=True, name="denoising")
        self.latents: Any = None  # the newest

    def __enter__(self) -> Denoising:
        openmp.release()  # the call's thread gets its own
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop = True
        self._go.release()
        self._thread.join()

    def steps(self) -> Iterator[tuple[int, int, Any]]:
        """(steps done, of how many, what `look` saw) after each. Raises what the pipeline raises."""
        while True:
            self._go.release()
            self._news.acquire()
            if self._error is not None:
                raise self._error
            if self._step is None:
                return
            step, self._step = self._step, None
            yield step

    def picture(self) -> tuple[Any, bool]:
        """The PIL image, and whether a safety checker held it back."""
        flagged = getattr(self._out, "nsfw_content_detected", None)
        return self._out.images[0], bool(flagged and flagged[0])

    def _call(self) -> None:
        import torch

        self._go.acquire()
        try:
            if not self._stop:
                with torch.inference_mode():
                    self._out = self._pipeline(**self._given, **self._watched())
        except _Stopped:
            pass
        except BaseException as error:
            self._error = error
        self._news.release()

    def _watched(self) -> dict[str, Any]:
        """What has the pipeline call back; a few families of diffusers can't, and have their scheduler do it."""
        if "callback_on_step_end" in inspect.signature(type(self._pipeline).__call__).parameters:
            return {"callback_on_step_end": self._after}
        if (scheduler := getattr(self._pipeline, "scheduler", None)) is not None:
            step, count = scheduler.step, itertools.count()

            @functools.wraps(step)
            def stepped(*args: Any, **kwargs: Any) -> Any:
                out = step(*args, **kwargs)
                self._total = len(scheduler.timesteps)
                self._after(self._pipeline, next(count), None, {"latents": out[0]})
                return out

            scheduler.step = stepped  # for this picture: each has a scheduler of its own
        return {}

    def _after(self, pipeline: Any, step: int, when: Any, given: dict[str, Any]) -> dict[str, Any]:
        done, total = step + 1, max(step + 1, self._total or int(getattr(pipeline, "num_timesteps", 0) or 0))
        if self._mend:
            given["latents"] = self._mend(pipeline, done, total, given["latents"])
        self.latents = given.get("latents")
        self._step = (done, total, self._look(self.latents, done, total))
        self._news.release()
        self._go.acquire()
        if self._stop:
            raise _Stopped
        return given
