"""Diffusers pipelines in memory: loaded by name, on the device and in the precision that fit."""

from __future__ import annotations

import functools
import inspect
import json
import math
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backend.engines.latent_view import LatentView
from backend.engines.memory import free_memory, out_of_memory
from backend.engines.model_files import Say, Stamp, first_line, head_of, silent
from backend.engines.pipeline_files import INDEX, described, folder_of, stamp_of, variant_of, weights_of
from backend.engines.shelf import Shelf
from backend.engines.spread import Spread, put, spread
from backend.errors import BadInput
from backend.recipes.device import choose, find
from backend.recipes.loading import hub_errors
from backend.starter import IMAGE_ID

_TEXTS = 32  # prompts whose embeddings are kept
_FEW = ("turbo", "schnell", "lightning", "hyper-sd", "lcm", "sdxs", "klein")  # in names of models for few steps


@dataclass(eq=False)
class Loaded:
    """A pipeline in memory. One request uses it at a time."""

    name: str
    place: Path
    stamp: Stamp
    pipeline: Any
    device: str
    dtype: str
    how: Spread = "whole"  # on the device, or its parts or layers one after the other
    notes: list[str] = field(default_factory=list)  # for whoever asks next
    worn: tuple[Any, ...] = ()  # adapters on it now
    variants: dict[Any, Any] = field(default_factory=dict)  # the same parts as other pipelines: from a picture, …
    _texts: OrderedDict[Any, Any] = field(default_factory=OrderedDict)
    encoded: int = 0  # prompts that were not remembered

    def __post_init__(self) -> None:
        self.scheduler: Any = getattr(self.pipeline, "scheduler", None)  # the model's own
        self.view = LatentView(self.pipeline)
        self.remember(self.pipeline)

    @property
    def denoiser(self) -> Any:
        return getattr(self.pipeline, "unet", None) or getattr(self.pipeline, "transformer", None)

    @property
    def grid(self) -> int:
        """Sizes are multiples of this, in pixels."""
        scale = int(getattr(self.pipeline, "vae_scale_factor", 8))
        return math.lcm(8, scale) if getattr(self.pipeline, "unet", None) is not None else scale * 2

    @property
    def size(self) -> tuple[int, int]:
        """The model's own (width, height) in pixels."""
        scale = int(getattr(self.pipeline, "vae_scale_factor", 8))
        own = getattr(self.pipeline, "default_sample_size", None) or getattr(
            getattr(self.denoiser, "config", None), "sample_size", None
        )
        height, width = own if isinstance(own, list | tuple) else (own, own)
        return (width or 128) * scale, (height or 128) * scale

    @property
    def steps(self) -> int:
        """How many steps the model takes where nobody says."""
        if self.name == IMAGE_ID:
            return 8
        own = takes(self.pipeline).get("num_inference_steps")
        few = any(word in self.name.lower() for word in _FEW) or self._distilled
        return min(4, own or 4) if few else int(own or 30)

    @property
    def guidance(self) -> float:
        if self.name == IMAGE_ID:
            return 4.0
        given = takes(self.pipeline)
        if any(word in self.name.lower() for word in _FEW) or self._distilled:
            return 0.0
        return float(given.get("guidance_scale") or given.get("true_cfg_scale") or 1.0)

    @property
    def embeds_guidance(self) -> bool | None:
        """Whether a transformer is told its guidance, so that one pass does; None where that is no question."""
        found: bool | None = getattr(getattr(self.denoiser, "config", None), "guidance_embeds", None)
        return found

    @property
    def _distilled(self) -> bool:
        return self.embeds_guidance is False and "Flux" in type(self.pipeline).__name__

    def remember(self, pipeline: Any) -> None:
        """Have its prompts encoded once: a prompt that comes again with the same adapters is remembered."""
        encode = getattr(pipeline, "encode_prompt", None)
        if encode is None:
            return

        @functools.wraps(encode)
        def remembered(*args: Any, **kwargs: Any) -> Any:
            asked = inspect.signature(encode).bind(*args, **kwargs).arguments
            if any(hasattr(value, "shape") or hasattr(value, "size") for value in asked.values()):
                return encode(*args, **kwargs)  # tensors or pictures are not compared
            key = (type(pipeline).__name__, self.worn, repr(sorted(asked.items())))
            if key not in self._texts:
                self.encoded += 1
                self._texts[key] = encode(*args, **kwargs)
                while len(self._texts) > _TEXTS:
                    self._texts.popitem(last=False)
            self._texts.move_to_end(key)
            return self._texts[key]

        pipeline.encode_prompt = remembered


def takes(pipeline: Any) -> dict[str, Any]:
    """What a pipeline's call takes, with defaults."""
    return {name: one.default for name, one in inspect.signature(type(pipeline).__call__).parameters.items()}


def load(name: str, shelf: Shelf, say: Say = silent) -> Loaded:
    """The pipeline `name` on the best device; idle text models go where it needs their room.

    Raises NotFound, Gated, HubError, NoRoom, BadInput.
    """
    import diffusers
    import torch

    place = folder_of(name, say)
    device = choose(find())
    precision = device.precision if device.device == "cuda" else "fp32"
    whole = place.is_dir()
    with reading(name):
        parts = weights_of(place, 4 if precision == "fp32" else 2)
    need, largest, free = sum(parts), max(parts), free_memory() + shelf.idle_bytes()
    if device.device == "cpu" and need > free:
        precision, need = "bf16", need // 2  # slower where it is emulated, but it may fit
    how: Spread = spread(need, largest, free) if device.device == "cuda" else "whole"
    shelf.make_room(name, {"whole": need, "parts": largest, "layers": 0}[how])
    torch.set_num_threads(device.threads)
    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    diffusers.utils.logging.set_verbosity_error()  # what matters is said in our own words
    diffusers.utils.logging.disable_progress_bar()
    with reading(name):
        pipeline = _pipeline(place, dtype) if whole else _from_one_file(place, dtype)
    if "prompt" not in takes(pipeline):
        raise BadInput(
            f"{name} is a {type(pipeline).__name__}, which draws nothing from words.",
            f"Choose a text-to-image model such as {IMAGE_ID}.",
            "model.wrong_task",
        )
    pipeline.set_progress_bar_config(disable=True)
    put(pipeline, device.device, how)
    return Loaded(name, place, stamp_of(place), pipeline, str(device.device), precision, how)


def _pipeline(place: Path, dtype: Any) -> Any:
    import diffusers

    options: dict[str, Any] = {"dtype": dtype, "use_safetensors": True, "local_files_only": True}
    auto: Any = diffusers.AutoPipelineForText2Image
    plain: Any = diffusers.DiffusionPipeline
    if variant := variant_of(place):
        options["variant"] = variant
    kind = json.loads((place / INDEX).read_text())["_class_name"]
    try:
        return auto.from_pretrained(place, **options)
    except ValueError as error:
        if kind not in str(error):  # else it is not one of those that are known by their task
            raise
        return plain.from_pretrained(place, **options)


def _from_one_file(place: Path, dtype: Any) -> Any:
    """A checkpoint of a kind that diffusers knows, which tells its weights alone: the rest is `described` elsewhere."""
    import diffusers
    import torch
    from diffusers.loaders import single_file_utils

    infer: Any = single_file_utils.infer_diffusers_model_type
    if any(".lora" in key or key.startswith("lora_") for key in head_of(place)):
        raise BadInput(
            f"{place.name} is a LoRA adapter and no model.",
            "Choose it as the adapter, and as the model the one that it was made for.",
            "model.wrong_task",
        )
    kind = infer({key: torch.empty(one["shape"], device="meta") for key, one in head_of(place).items()})
    about = described(place, single_file_utils.DIFFUSERS_DEFAULT_PIPELINE_PATHS[kind]["pretrained_model_name_or_path"])
    family = getattr(diffusers, json.loads((about / INDEX).read_text())["_class_name"])
    return family.from_single_file(str(place), config=str(about), dtype=dtype, local_files_only=True)


@contextmanager
def reading(name: str) -> Iterator[None]:
    """What the loaders say of files that they can't use becomes BadInput."""
    try:
        with hub_errors(name):
            yield
    except (ValueError, OSError, KeyError, TypeError, AttributeError, ImportError, StopIteration) as error:
        if out_of_memory(error):
            raise
        raise BadInput(
            f"diffusers can't load {name}: {first_line(error)}.", "Choose another text-to-image model.", "model.invalid"
        ) from error
