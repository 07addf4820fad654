"""Draws pictures step by step with any diffusers pipeline."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

from backend import events as ev
from backend.engines.denoising import Denoising
from backend.engines.image import ImageParams
from backend.engines.image_adapters import wear
from backend.engines.image_call import Call, composed
from backend.engines.masking import Blending
from backend.engines.memory import all_memory, free_memory, out_of_memory
from backend.engines.model_files import Say, first_line, silent
from backend.engines.picture import metadata, write
from backend.engines.pipeline_files import stamp_of
from backend.engines.pipelines import Loaded, load
from backend.engines.shelf import Shelf
from backend.engines.spread import tile, told
from backend.errors import BadInput, NoRoom
from backend.starter import IMAGE_ID

_WARM = 1_000_000_000  # bytes free with which the starter is loaded before anybody asks
Drawn = Generator[ev.Event, None, None]


class ImageEngine:
    """Answers `ImageParams` with one pipeline in memory. One request works at a time.

    A picture is drawn in one go; between two, `ev.Wrote` without text is where somebody else's may come first.
    """

    def __init__(self, shelf: Shelf, quicken: Callable[[Any, Say], None] = lambda pipeline, say: None) -> None:
        """`quicken` may make a pipeline quicker when it has been loaded, and say then or later what came of it."""
        self._shelf = shelf
        self._quicken = quicken
        self._loaded: Loaded | None = None
        self._used = time.monotonic()
        self._open = 0  # requests that have begun
        self._lock = threading.Lock()  # of that number, and of letting the pipeline go
        shelf.neighbours.append(self)

    def load(self, model: str, adapter: str | None = None, say: Say = silent) -> None:
        """Have the pipeline in memory, and no other. Raises NotFound, Gated, HubError, NoRoom, BadInput."""
        held = self._loaded
        if held and held.name == model and held.stamp == stamp_of(held.place):
            return
        held = None
        self._drop()  # before, so that both never have to fit
        self._loaded = load(model, self._shelf, say)
        self._quicken(self._loaded.pipeline, self._loaded.notes.append)

    def warm(self) -> None:
        """Have the starter in memory, if that drives nothing else out of it: the first picture then comes at once."""
        if self._loaded is None and free_memory() > _WARM:
            self.load(IMAGE_ID)

    def has(self, request: ImageParams) -> bool:
        """Whether its pipeline is in memory."""
        return self._loaded is not None and self._loaded.name == request.model

    ready = has

    def prepare(self, request: ImageParams, say: Say = silent) -> None:
        """Load what `request` needs. Raises what `load` raises."""
        self.load(request.model, say=say)

    def oldest(self) -> tuple[float, Callable[[], None]] | None:
        """For the shelf next door: when it was last used, and how to let it go."""
        return None if self._open or self._loaded is None else (self._used, self._let_go)

    def _let_go(self) -> None:
        with self._lock:
            if not self._open:
                self._drop()

    def _drop(self) -> None:
        self._loaded = None
        gc.collect()
        _give_back()

    def stream(self, request: ImageParams, say: Say = silent) -> Drawn:
        """Logged and Started; for each picture Progressed with every step, Produced `preview` now and then (a small PNG
        in `data`), Produced `picture` (a PNG file that carries its settings); Finished.

        `say` is told at once what loading waits for. Closing the iterator ends it within a step. Raises what `load`
        raises, and BadInput for what the model can't do.
        """
        with self._lock:
            self._open += 1
        try:
            yield from self._draw(request, say)
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            self._drop()
            raise NoRoom(
                "Memory ran out while drawing.", "Choose a smaller size or a smaller model.", "no_room.memory"
            ) from error
        finally:
            with self._lock:
                self._open -= 1
            self._used = time.monotonic()

    def _draw(self, request: ImageParams, say: Say) -> Drawn:
        began = time.perf_counter()
        yield from self._loading(request)
        loaded = self._the(request, say)
        call = composed(loaded, request)
        shown: dict[str, Any] = {"model": request.names.get(request.model, request.model), "device": loaded.device}
        shown |= {"dtype": loaded.dtype, "width": call.width, "height": call.height}
        yield ev.Started(info=shown | {"steps": call.steps, "guidance": call.guidance})
        if note := told(loaded.how, shown["model"]):
            yield ev.Logged(text=note)
        for sentence in call.said:
            yield ev.Logged(level="warning", text=sentence)
        folder = Path(request.folder)
        folder.mkdir(parents=True, exist_ok=True)
        first = time.perf_counter()
        steps = held_back = 0
        for number in range(request.count):
            if number:
                yield ev.Wrote()  # others may come first, with another model or other adapters
                loaded = self._the(request, say)
                call = composed(loaded, request)
            seed = (request.seed + number) % 2**32
            tile(getattr(call.pipeline, "vae", None), call.width, call.height, all_memory())
            image = yield from self._one(loaded, call, request, number, seed, first)
            while loaded.notes:
                yield ev.Logged(level="warning", text=loaded.notes.pop(0))
            steps += call.steps
            if image is None:
                held_back += 1
                yield ev.Produced(kind="preview", step=call.steps, data={"png": "", "number": number})  # not shown on
                yield ev.Logged(
                    level="warning", text=f"The model's safety checker held back the picture of seed {seed}"
                )
                continue
            width, height = image.size
            settings = request.settings(seed=seed, width=width, height=height, steps=call.steps, guidance=call.guidance)
            name = f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}.png"
            file = write(image, folder / name, metadata(settings))
            yield ev.Produced(kind="picture", name=name, file=str(file), data=settings)
        if held_back == request.count:
            raise BadInput(
                "The model's safety checker held back what was drawn.", "Change the prompt or the seed.", "image.unsafe"
            )
        ended = time.perf_counter()
        values = {"seconds": round(ended - began, 3), "drawing": round(ended - first, 3), "steps": steps}
        yield ev.Finished(reason="stop", values=values | {"pictures": request.count - held_back})

    def _loading(self, request: ImageParams) -> Drawn:
        """Logged while the pipeline comes into memory."""
        if not self.has(request):
            yield ev.Logged(text=f"Loading {request.names.get(request.model, request.model)}")

    def _the(self, request: ImageParams, say: Say) -> Loaded:
        """The pipeline with the adapters of `request` and no others."""
        self.load(request.model, say=say)
        assert self._loaded
        wear(self._loaded, request.adapters, request.names)
        return self._loaded

    def _one(
        self, loaded: Loaded, call: Call, request: ImageParams, number: int, seed: int, first: float
    ) -> Generator[ev.Event, None, Any]:
        """One picture's events, and the picture; None when it was held back."""
        import torch

        began = time.perf_counter()
        looked = 0.0

        def look(latents: Any, done: int, total: int) -> str:
            nonlocal looked
            now = time.perf_counter()
            if done == total or not loaded.view.allowed(looked, now - began):
                return ""
            png = loaded.view.png(latents, call.width, call.height)
            looked += time.perf_counter() - now
            return png

        given = call.given | {"generator": torch.Generator("cpu").manual_seed(seed)}
        mend = Blending(call.kept, seed) if call.kept and call.kept.blends else None
        with _refusing(call, request), Denoising(call.pipeline, given, look, mend) as denoising:
            for done, total, png in denoising.steps():
                all_done, all_steps = number * total + done, request.count * total
                eta = (time.perf_counter() - first) / all_done * (all_steps - all_done)
                yield ev.Progressed(done=all_done, total=all_steps, eta=round(eta, 2))
                if png:
                    yield ev.Produced(kind="preview", step=done, data={"png": png, "number": number})
            image, held_back = denoising.picture()
            if held_back:
                return None
            loaded.view.learn(denoising.latents, image)
        return call.kept.pasted(image) if call.kept else image


@contextlib.contextmanager
def _refusing(call: Call, request: ImageParams) -> Iterator[None]:
    """What a pipeline itself says of its arguments becomes BadInput."""
    try:
        yield
    except (ValueError, TypeError, AssertionError, NotImplementedError) as error:
        raise BadInput(
            f"{request.names.get(request.model, request.model)} can't draw this: {first_line(error)}.",
            "Try its own scheduler, steps and size.",
            "image.refused",
        ) from error


def _give_back() -> None:
    """Have the C library return freed memory to the system; elsewhere than on Linux it does so by itself."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
