"""What teaching an image model will take, in memory, time and disk, from the headers of its files. Loads nothing.

Memory: the pipeline's weights once, the optimizer's two moments, and what a step keeps for its backward pass, which was
held against real runs of the starter on a CPU (see the tests). Time: two operations a weight and place of a picture
forward, as much again backward through a frozen layer; and the pictures that are drawn. Both are guesses for other
models until a run was measured.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

from backend.recipes import image_model
from backend.recipes.device import cores
from backend.recipes.image_params import ImageTrainParams
from backend.recipes.params import check
from backend.recipes.preflight import Place, verdict
from backend.recipes.weights import read

BASE = 650_000_000  # bytes of a process with PyTorch, Diffusers and PEFT, on a CPU
_KEPT = 280  # bytes kept for backward by each place of a latent, for each channel of the widest level
_AGAIN = 0.35  # of that, where layers are computed again instead
_SPEED = {"cpu": 60e9, "cuda": 20e12}  # operations a second that come of it: a core, a GPU
_CHECKPOINTS = 3
_FORWARD = 0.5  # of a step's work on a picture; drawing does no more


def estimate(
    recipe: str, values: dict[str, Any], place: Place, pace: float | None = None, measured: int = 0
) -> dict[str, Any]:
    """{memory, time, disk, verdict, fixes} as `preflight.estimate` tells them.

    `values` are params of `recipe` with names resolved; `pace` is seconds a step and `measured` bytes, both of an
    earlier run like it.
    """
    params: ImageTrainParams = check(import_module(f"backend.recipes.{recipe}").Params, values)
    folder = image_model.folder_of(params.model)
    parts = _memory(params, folder, place.gpu) if folder else {}
    total = measured or sum(parts.values())
    guessed = not pace and folder is not None
    pace = pace or (_pace(params, folder, place.gpu) if folder else None)
    trained = parts.get("trained", 0)
    disk = trained * _CHECKPOINTS + 20_000_000
    fixes = [fix(params)] if folder and total > 0.85 * place.memory and params.per_device_train_batch_size > 1 else []
    return {
        "memory": {"needed": total, "free": place.memory, "measured": bool(measured), "parts": parts},
        "time": {
            "steps": params.max_steps,
            "seconds_per_step": pace,
            "seconds": params.max_steps * pace + _drawing(params, pace) if pace else None,
            "guessed": guessed,
        },
        "disk": {"needed": disk, "free": place.disk},
        "verdict": verdict(total, disk, place, bool(measured)),
        "fixes": fixes,
    }


def fix(params: ImageTrainParams) -> dict[str, Any]:
    """Half the batch twice as often: the same result with less memory."""
    half = params.per_device_train_batch_size // 2
    change = {
        "per_device_train_batch_size": half,
        "gradient_accumulation_steps": params.gradient_accumulation_steps * 2,
    }
    return {"title": f"Batches of {half}, twice as many to a step: the same result", "set": change, "needed": 0}


def _memory(params: ImageTrainParams, folder: Path, gpu: bool) -> dict[str, int]:
    """Bytes by what takes them."""
    number = 4 if params.precision == "fp32" or (params.precision == "auto" and not gpu) else 2
    weights = sum(read(part).count for part in folder.iterdir() if part.is_dir())
    width, places = _latent(params, folder)
    kept = _KEPT * width * places * params.per_device_train_batch_size * _kinds(params) * number / 4
    if params.gradient_checkpointing == "on" or (params.gradient_checkpointing == "auto" and gpu):
        kept *= _AGAIN
    return {
        "base": 0 if gpu else BASE,
        "weights": weights * number,
        "trained": _trained(params, folder) * 16,  # in fp32, with gradient and two moments
        "activations": int(kept),
    }


def _trained(params: ImageTrainParams, folder: Path) -> int:
    """Numbers that are trained."""
    names = [one.strip() for one in str(getattr(params, "target_modules", "")).split(",") if one.strip()]
    if not names:
        return int(_config(folder / "text_encoder").get("hidden_size", 768))
    rank, found = int(getattr(params, "lora_r", 0)), 0
    for part in ("unet", "transformer"):
        for layer, shape in read(folder / part).layers().items():
            if len(shape) in (2, 4) and any(layer == name or layer.endswith(f".{name}") for name in names):
                found += rank * (shape[0] + prod(shape[1:]))
    return found


def _latent(params: ImageTrainParams, folder: Path) -> tuple[int, int]:
    """(channels of the denoiser's widest level, places of a latent)."""
    config = _config(folder / "unet") or _config(folder / "transformer")
    own = image_model.side_of(params.model)
    size = config.get("sample_size") or 64
    size = (min(size) if isinstance(size, list) else size) * (params.resolution or own) / own
    channels = config.get("block_out_channels") or [config.get("num_attention_heads", 24) * 64]
    return max(channels), int(size * size)


def _pace(params: ImageTrainParams, folder: Path, gpu: bool) -> float:
    """Seconds a step: weights work at most at the latent's own size, on average at about a third of its places."""
    weights = sum(read(folder / part).count for part in ("unet", "transformer") if (folder / part).is_dir())
    _, places = _latent(params, folder)
    work = 4 * weights * places / 3 * params.rows * _kinds(params)
    return work / (_SPEED["cuda"] if gpu else _SPEED["cpu"] * cores())


def _drawing(params: ImageTrainParams, pace: float) -> float:
    """Seconds for the pictures of its checkpoints, and for those that it learns to keep."""
    rounds = 1 + (params.max_steps // params.save_steps if params.save_steps else 3)
    pictures = rounds * len(params.shown) * params.num_validation_images
    if getattr(params, "keeps", False):
        pictures += int(getattr(params, "num_class_images", 0))
    steps, _ = params.drawing()
    return pictures * steps * 2 * _FORWARD * pace / (params.rows * _kinds(params))  # with and without the words


def _kinds(params: ImageTrainParams) -> int:
    """How many pictures a step has for each new one."""
    return 2 if getattr(params, "keeps", False) else 1


def _config(folder: Path) -> Mapping[str, Any]:
    try:
        return dict(json.loads((folder / "config.json").read_text()))
    except (OSError, ValueError):
        return {}
