"""A request as a pipeline's call: which pipeline of the family, with which arguments, and what it can't do."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backend.engines.image import SCHEDULERS, ImageParams
from backend.engines.masking import Kept
from backend.engines.picture import opened
from backend.engines.pipelines import Loaded, reading, takes
from backend.engines.spread import put
from backend.errors import BadInput
from backend.recipes.loading import hub_errors

_MOST_TIMES = 16  # of the pixels that a model was made for: beyond, it draws patterns, and for minutes
_SAME_FORM = 0.02  # by how much the forms of a mask and its picture may differ


@dataclass
class Call:
    """What to call with what; `said` are sentences for whoever asked."""

    pipeline: Any
    given: dict[str, Any]
    width: int
    height: int
    steps: int
    guidance: float
    said: list[str] = field(default_factory=list)
    kept: Kept | None = None  # what stays as it is


def composed(loaded: Loaded, request: ImageParams) -> Call:
    """Raises NotFound, Gated, HubError, and BadInput for what the model can't do."""
    said: list[str] = []
    start = opened(request.image) if request.image else None
    if start is not None and request.enlarge > 1:
        start = start.resize((start.width * request.enlarge, start.height * request.enlarge), 1)  # 1: Lanczos
    width, height = _size(loaded, request, start, said)
    mask = _mask(request, start, said) if request.mask else None
    pipeline = _variant(loaded, request, start is not None, mask is not None and _paints(loaded))
    allowed = takes(pipeline)
    steps = request.steps or loaded.steps
    guidance = loaded.guidance if request.guidance is None else request.guidance
    given: dict[str, Any] = {"prompt": request.prompt, "num_inference_steps": steps}
    given |= {"width": width, "height": height} | _guidance(loaded, request, guidance, allowed, said)
    kept = None
    if start is not None:
        picture = start.resize((width, height), 1)
        if int(steps * request.strength) < 1:
            raise BadInput(
                f"strength {request.strength:g} of {steps} steps leaves no step to draw.",
                f"Use at least {math.ceil(100 / steps) / 100:g}, or more steps.",
                "image.strength",
            )
        given |= {"image": picture, "strength": request.strength}
        if mask is not None:
            given["mask_image"] = mask.resize((width, height), 0)  # 0: the nearest pixel
            kept = Kept(picture, given["mask_image"], blends=not _paints(loaded))
    if request.control_model:
        control = opened(request.control_image).resize((width, height), 1)
        name = "control_image" if start is not None or "control_image" in allowed else "image"
        given |= {name: control, "controlnet_conditioning_scale": request.control_scale}
    if loaded.scheduler is not None:
        pipeline.scheduler = _scheduler(request, loaded)
    said += [sentence for text in (request.prompt, request.negative_prompt) for sentence in _cut(loaded, text, allowed)]
    return Call(pipeline, {k: v for k, v in given.items() if k in allowed}, width, height, steps, guidance, said, kept)


def _size(loaded: Loaded, request: ImageParams, start: Any, said: list[str]) -> tuple[int, int]:
    """As asked for, as the picture has it, or the model's own; multiples of its grid. Raises BadInput."""
    width, height = request.width or loaded.size[0], request.height or loaded.size[1]
    if start is not None and not (request.width or request.height):
        width, height = _near(start.size, loaded, request.enlarge)
        if (width, height) != start.size:
            said.append(f"The picture, {start.width} × {start.height}, is drawn at {width} × {height}")
    grid = loaded.grid
    off = [(name, value) for name, value in (("width", width), ("height", height)) if value % grid or value < grid]
    if off:
        near = [(name, max(grid, round(value / grid) * grid)) for name, value in off]
        told = " and ".join(f"{name} is {value}" for name, value in off)
        raise BadInput(
            f"{told}; {request.names.get(loaded.name, loaded.name)} draws multiples of {grid} pixels.",
            f"Use {' and '.join(f'{name} {value}' for name, value in near)}.",
            "image.size",
        )
    own = loaded.size[0] * loaded.size[1]
    if (request.width or request.height) and width * height > _MOST_TIMES * own:  # `_near` keeps to it by itself
        side = round((_MOST_TIMES * own) ** 0.5)
        raise BadInput(
            f"{width} × {height} is {width * height / own:.3g} times the {loaded.size[0]} × {loaded.size[1]} that "
            f"{request.names.get(loaded.name, loaded.name)} was made for; it draws up to {_MOST_TIMES} times that.",
            f"Use at most {side} × {side}, or a model for larger pictures.",
            "image.size",
        )
    return width, height


def _near(size: tuple[int, int], loaded: Loaded, enlarge: int) -> tuple[int, int]:
    """The size of a picture on the model's grid, no larger by area than the model's own, or that enlarged."""
    own = loaded.size[0] * loaded.size[1] * enlarge**2
    scale = min(1.0, (own / (size[0] * size[1])) ** 0.5)
    width, height = (max(loaded.grid, round(side * scale / loaded.grid) * loaded.grid) for side in size)
    return width, height


def _mask(request: ImageParams, start: Any, said: list[str]) -> Any:
    """The mask in grey. Raises BadInput for one of another form than its picture, or with nothing white."""
    mask = opened(request.mask, "L")
    form, wanted = mask.width / mask.height, start.width / start.height
    if abs(form / wanted - 1) > _SAME_FORM:
        raise BadInput(
            f"The mask is {mask.width} × {mask.height}, and its picture {start.width} × {start.height}: another form.",
            "Give a mask of the picture's size.",
            "image.mask",
        )
    if mask.getextrema()[1] < 128:
        raise BadInput("Nothing of the mask is white.", "Paint over what is to be drawn anew.", "image.mask")
    if mask.size != start.size and request.enlarge == 1:
        said.append(
            f"The mask, {mask.width} × {mask.height}, is scaled to the picture's {start.width} × {start.height}"
        )
    return mask


def _paints(loaded: Loaded) -> bool:
    """Whether diffusers' pipelines for masks take the UNet, which they do for 4 or 9 channels alone.

    Any other begins from the whole picture, which is blended in after each step.
    """
    unet = getattr(loaded.pipeline, "unet", None)
    return unet is None or unet.config.in_channels in (4, 9)


def _variant(loaded: Loaded, request: ImageParams, start: bool, mask: bool) -> Any:
    """The same parts as the pipeline that does what is asked. Raises BadInput where the family has none."""
    import diffusers

    key = ("mask" if mask else "picture" if start else "words", request.control_model)
    if key == ("words", ""):
        return loaded.pipeline
    if key in loaded.variants:
        return loaded.variants[key]
    auto = {"mask": "AutoPipelineForInpainting", "picture": "AutoPipelineForImage2Image"}
    name = request.names.get(loaded.name, loaded.name)
    more = {"controlnet": _control_net(loaded, request)} if request.control_model else {}
    try:
        made = getattr(diffusers, auto.get(key[0], "AutoPipelineForText2Image")).from_pipe(loaded.pipeline, **more)
    except ValueError as error:
        what = {"mask": "paint within a mask", "picture": "begin from a picture"}.get(key[0], "")
        what = " and ".join(filter(None, (what, "keep to a ControlNet" if more else "")))
        raise BadInput(
            f"{name} is a {type(loaded.pipeline).__name__}; diffusers has none of its kind that can {what}.",
            "Take that away, or choose another model, for example of Stable Diffusion's family.",
            "image.unable",
        ) from error
    made.set_progress_bar_config(disable=True)
    if loaded.how != "whole":
        put(made, loaded.device, loaded.how)
    loaded.remember(made)
    if more:  # only the last ControlNet stays
        for old in [one for one in loaded.variants if one[1] and one[1] != request.control_model]:
            del loaded.variants[old]
    loaded.variants[key] = made
    return made


def _control_net(loaded: Loaded, request: ImageParams) -> Any:
    """Raises NotFound, Gated, HubError, BadInput."""
    import diffusers

    for (_, name), pipeline in loaded.variants.items():
        if name == request.control_model:
            return pipeline.controlnet
    shown = request.names.get(request.control_model, request.control_model)
    folder = Path(request.control_model)
    if not folder.is_absolute():
        with hub_errors(shown):
            from huggingface_hub import snapshot_download

            files = ["config.json", "diffusion_pytorch_model*.safetensors*"]
            folder = Path(snapshot_download(request.control_model, allow_patterns=files, ignore_patterns="*.fp16.*"))
    family = "Flux" if "Flux" in type(loaded.pipeline).__name__ else ""
    family = family or ("SD3" if "StableDiffusion3" in type(loaded.pipeline).__name__ else "")
    kind = getattr(diffusers, f"{family}ControlNetModel")
    with reading(shown):
        theirs = json.loads((folder / "config.json").read_text()).get("_class_name")
    if theirs and theirs != kind.__name__:
        raise BadInput(
            f"{shown} is a {theirs}, and {type(loaded.pipeline).__name__} takes a {kind.__name__}: it was made for "
            "another family.",
            "Choose a ControlNet of this model's family.",
            "control.misfit",
        )
    with reading(shown):
        net = kind.from_pretrained(folder, dtype=loaded.denoiser.dtype, use_safetensors=True, local_files_only=True)
    size = getattr(loaded.denoiser.config, "cross_attention_dim", None)
    theirs = getattr(net.config, "cross_attention_dim", None)
    if size != theirs:
        raise BadInput(
            f"The ControlNet {shown} reads text {theirs} wide, and {request.names.get(loaded.name, loaded.name)} is "
            f"{size} wide: it was made for another family.",
            "Choose a ControlNet of this model's family.",
            "control.misfit",
        )
    return net.to(loaded.denoiser.device).eval()


def _guidance(
    loaded: Loaded, request: ImageParams, guidance: float, allowed: dict[str, Any], said: list[str]
) -> dict[str, Any]:
    """Guidance and negative prompt under the names that this pipeline has for them."""
    true = "true_cfg_scale" in allowed and loaded.embeds_guidance is not True and guidance > 1
    given: dict[str, Any] = {"true_cfg_scale": guidance} if true else {"guidance_scale": guidance}
    if true:  # which works only beside a negative prompt
        return given | {"negative_prompt": request.negative_prompt or " "}
    if not request.negative_prompt:
        return given
    if "negative_prompt" not in allowed or loaded.embeds_guidance is True or guidance <= 1:
        why = " with a guidance of 1 or less" if guidance <= 1 else ""
        said.append(f"The negative prompt does nothing{why}" if why else "This model takes no negative prompt")
        return given
    return given | {"negative_prompt": request.negative_prompt}


def _scheduler(request: ImageParams, loaded: Loaded) -> Any:
    """A fresh one for each request. Raises BadInput where the model's noise is of another kind."""
    import diffusers

    own: Any = loaded.scheduler
    if not request.scheduler:
        return type(own).from_config(own.config)
    noise, flow = SCHEDULERS[request.scheduler]
    flows = "Flow" in type(own).__name__ or bool(own.config.get("use_flow_sigmas"))
    name = flow if flows else noise
    if not name:
        known = ", ".join(one for one, (_, kind) in SCHEDULERS.items() if kind)
        raise BadInput(
            f"The scheduler {request.scheduler} is not for models of flow matching.",
            f"Use one of {known}, or leave it empty.",
            "image.scheduler",
        )
    more: dict[str, Any] = {"skip_prk_steps": True} if name == "PNDMScheduler" else {}
    return getattr(diffusers, name).from_config(own.config, **more)


def _cut(loaded: Loaded, text: str, allowed: dict[str, Any]) -> list[str]:
    """What of a prompt no text encoder of the model reads, in a sentence."""
    readers = []
    for name in ("tokenizer", "tokenizer_2", "tokenizer_3"):
        if tokenizer := getattr(loaded.pipeline, name, None):
            clip = "CLIP" in type(tokenizer).__name__
            longest = tokenizer.model_max_length if clip else allowed.get("max_sequence_length")
            if isinstance(longest, int) and longest < 100_000:
                readers.append((longest, name, tokenizer))
    if not text or not readers:
        return []
    longest, _, tokenizer = max(readers, key=lambda one: one[:2])
    ids = tokenizer(text, truncation=False, verbose=False)["input_ids"]
    if len(ids) <= longest:
        return []
    lost = tokenizer.decode(ids[longest - 1 :], skip_special_tokens=True).strip()
    lost = lost if len(lost) <= 200 else f"{lost[:200]}…"
    return [f"The prompt has {len(ids)} tokens, and this model reads {longest}; left out was: “{lost}”"]
