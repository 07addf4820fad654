"""Models for tasks in memory: small ones for one thing each, beside the chat models of the shelf and fair to them."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backend.engines.fit import read
from backend.engines.model_files import Say, Stamp, fetch, reading, silent, stamp_of
from backend.engines.shelf import Shelf
from backend.engines.tasks import KINDS, TASKS, kind_in
from backend.errors import BadInput, HubError, NotFound
from backend.recipes.device import choose, find

_AUTO = {
    "sequence": "AutoModelForSequenceClassification",
    "nli": "AutoModelForSequenceClassification",
    "token": "AutoModelForTokenClassification",
    "span": "AutoModelForQuestionAnswering",
    "mask": "AutoModelForMaskedLM",
    "embed": "AutoModel",
    "seq2seq": "AutoModelForSeq2SeqLM",
    "image": "AutoModelForImageClassification",
    "caption": "AutoModelForImageTextToText",
    "speech": "AutoModelForSpeechSeq2Seq",
}


@dataclass(eq=False)
class Tool:
    """A model loaded for tasks, with what prepares its input: a tokenizer, an image processor, a feature extractor."""

    name: str
    folder: Path
    stamp: Stamp
    kind: str
    model: Any
    tokenizer: Any = None
    eyes: Any = None
    ears: Any = None
    users: int = 0
    used: float = field(default_factory=time.monotonic)

    @property
    def about(self) -> dict[str, str]:
        """For `Started.info`."""
        return {"model": self.name, "device": str(self.model.device), "dtype": str(self.model.dtype).split(".")[-1]}


class Toolbox:
    """The tools in memory, the longest unused first. Safe for several threads."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf
        self._tools: OrderedDict[str, Tool] = OrderedDict()
        self._lock = threading.Lock()
        shelf.neighbours.append(self)

    def kind(self, name: str, task: str, say: Say = silent) -> str:
        """The kind of the model `name`, which must fit `task`; its files are fetched first. Raises what `fetch` raises.

        Raises BadInput for a model of another task, naming what it is for.
        """
        tool = self._tools.get(name)
        kind = tool.kind if tool and tool.stamp == stamp_of(tool.folder) else kind_in(self._fetch(name, say))
        if kind not in TASKS[task].kinds:
            wanted = " or ".join(KINDS[one] for one in TASKS[task].kinds)
            suggested = next(iter(TASKS[task].suggested), "")
            raise BadInput(
                f"{name} is a model for {KINDS[kind]}; {task} needs one for {wanted}.",
                f"Choose one from the list, for example {TASKS[task].default or suggested}.",
                "model.wrong_task",
            )
        return kind

    def has(self, name: str) -> bool:
        """Whether `use` would begin at once."""
        tool = self._tools.get(name)
        return tool is not None and tool.stamp == stamp_of(tool.folder)

    @contextmanager
    def use(self, name: str, say: Say = silent) -> Iterator[Tool]:
        """The tool of `name`, loaded where it isn't yet, and kept in memory until the block ends."""
        while True:
            with self._lock:
                if self.has(name):
                    tool = self._tools[name]
                    tool.users += 1
                    self._tools.move_to_end(name)
                    break
            self.load(name, say)
        try:
            yield tool
        finally:
            with self._lock:
                tool.users -= 1
                tool.used = time.monotonic()

    def load(self, name: str, say: Say = silent) -> None:
        """Have the tool in memory. Raises NotFound, Gated, HubError, NoRoom, BadInput."""
        if self.has(name):
            return
        folder = self._fetch(name, say)
        self._shelf.make_room(name, read(folder).bytes("fp32" if find().kind == "cpu" else "fp16"))
        say(f"Loading {name}.")
        tool = _read(name, folder)
        with self._lock:
            self._tools[name] = tool

    def oldest(self) -> tuple[float, Callable[[], None]] | None:
        """When the longest unused tool was last used, and how to let it go; None when all are in use."""
        with self._lock:
            idle = [tool for tool in self._tools.values() if not tool.users]
        if not idle:
            return None
        tool = min(idle, key=lambda one: one.used)
        return tool.used, lambda: self._drop(tool)

    def _drop(self, tool: Tool) -> None:
        with self._lock:
            if self._tools.get(tool.name) is tool:
                del self._tools[tool.name]

    def _fetch(self, name: str, say: Say) -> Path:
        folder = fetch(name, self._shelf.make_room, say)
        if (folder / "modules.json").exists() and not (folder / "1_Pooling").exists() and "/" in name:
            from huggingface_hub import hf_hub_download

            with suppress(OSError, HubError):  # without it the mean is taken, as most embedders want
                hf_hub_download(name, "1_Pooling/config.json")
        if not (folder / "config.json").exists():
            raise BadInput(f"{name} has no config.json, so it is not a transformers model.", "Choose another model.")
        return folder


def _read(name: str, folder: Path) -> Tool:
    """Reads weights in fp32 on a CPU: these models are small, and many are trained for no less."""
    import torch
    import transformers

    kind = kind_in(folder)
    device = choose(find())
    dtype = torch.float32 if device.device == "cpu" else torch.float16
    with reading(name, f"for {KINDS[kind]}"):
        given: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
        config = transformers.AutoConfig.from_pretrained(folder, **given)
        auto = _AUTO.get(kind, "AutoModel")
        if kind == "speech" and any(one.endswith("ForCTC") for one in config.architectures or []):
            auto = "AutoModelForCTC"
        model = getattr(transformers, auto).from_pretrained(folder, dtype=dtype, use_safetensors=True, **given)
        tool = Tool(name, folder, stamp_of(folder), kind, model.to(device.device).eval().requires_grad_(False))
        if kind != "image":
            tool.tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **given)
        if kind in ("image", "caption"):
            tool.eyes = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil", **given)
        if kind == "speech":
            tool.ears = transformers.AutoFeatureExtractor.from_pretrained(folder, **given)
    return tool


def picture(file: str) -> Any:
    """A picture as RGB, turned as its camera said. Raises NotFound, BadInput."""
    from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: PLC0415

    path = _there(file)
    try:
        with Image.open(path) as opened:
            turned = ImageOps.exif_transpose(opened)
            return (turned or opened).convert("RGB")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadInput(
            f"{path.name} is not a picture that can be read: {str(error).split(' <')[0].rstrip('.')[:120]}.",
            "Use a PNG, JPEG, WebP or GIF.",
            "image.invalid",
        ) from error


def sound(file: str, rate: int, longest: float = 600) -> Any:
    """A recording as one channel of float32 samples, `rate` a second. Raises NotFound, BadInput."""
    import numpy as np  # noqa: PLC0415
    import soundfile
    from scipy.signal import resample_poly  # noqa: PLC0415

    path = _there(file)
    try:
        samples, own = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError) as error:
        raise BadInput(
            f"{path.name} is not a recording that can be read: {str(error).rpartition(': ')[2].rstrip('.')}.",
            "Use WAV, FLAC, Ogg or MP3.",
            "audio.invalid",
        ) from error
    seconds = len(samples) / own
    if not 0.1 <= seconds <= longest:
        raise BadInput(
            f"The recording has {seconds:.1f} s; use 0.1 to {longest:g} s.", "Cut it into parts.", "audio.invalid"
        )
    step = int(np.gcd(rate, own))
    return resample_poly(samples.mean(axis=1), rate // step, own // step).astype(np.float32)


def _there(file: str) -> Path:
    path = Path(file)
    if not path.is_file():
        raise NotFound(f"There is no file {path.name!r}.", "Upload it again.", "file.unknown")
    return path
