"""What can be known to be wrong before a run starts, without PyTorch: settings, model and data against one another."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from backend.errors import BadInput
from backend.recipes import adapters, data, loading
from backend.recipes.params import LORAS, PROMPTS, TrainParams
from backend.recipes.weights import Weights, read
from backend.starter import MODEL_ID, locate, ready

_SMALL = 8  # a batch that needs no reason, however few the rows


def check(
    params: TrainParams, wants: Sequence[data.Kind], task: str = adapters.WRITES, reference: bool = False
) -> None:
    """Everything that a method needs, answered in a second. `reference` says whether it compares with the base.

    Raises BadData, BadInput, NotFound.
    """
    settings(params, reference)
    adapters.check_start(params, task)
    folder = local(params.model)
    if folder:
        model(params, folder)
    rows(params, wants, folder)


def settings(params: TrainParams, reference: bool = False) -> None:
    """Settings that exclude one another. Raises BadInput."""
    if params.report_to == "trackio" and find_spec("trackio") is None:
        raise BadInput(
            "report_to is trackio, and the package trackio is not installed where Atelier runs.",
            "Install it there (pip install trackio), or use none; the run view shows every figure anyway.",
        )
    if params.adapter == "prefix_tuning" and params.gradient_checkpointing == "on":
        raise BadInput(
            "gradient_checkpointing is on, and prefix tuning can't train with it.",
            "Use auto or off, or another adapter.",
        )
    if params.init_lora_weights == "pissa" and params.adapter == "qlora":
        raise BadInput("init_lora_weights is pissa, which needs the weights themselves, not 4 bits.", "Use lora.")
    if params.init_lora_weights == "pissa" and params.adapter == "lora" and reference:
        raise BadInput(
            "init_lora_weights is pissa, which moves a part of the base into the adapter: no reference is left to "
            "compare with.",
            "Use default, or fine-tune with sft first.",
        )


def group(values: Any) -> Any:
    """Settings that leave `num_generations` out get the most answers a prompt, 4 to 2, that divide a step's answers."""
    if not isinstance(values, dict) or values.get("num_generations") not in (None, ""):
        return values
    try:
        size = int(values.get("per_device_train_batch_size") or 8) * int(values.get("gradient_accumulation_steps") or 1)
    except (TypeError, ValueError):  # said where the field is checked
        return values
    fits = next((count for count in (4, 3, 2) if size % count == 0), 4)
    return values | {"num_generations": fits}


def answers(params: TrainParams, num_generations: int) -> None:
    """That a step holds whole groups of answers to a prompt. Raises BadInput."""
    size = params.per_device_train_batch_size * params.gradient_accumulation_steps
    if size % num_generations:
        raise BadInput(
            f"per_device_train_batch_size × gradient_accumulation_steps is {size}, and num_generations is "
            f"{num_generations}: a step must hold all the answers to a prompt.",
            f"Use a batch of {num_generations * max(1, round(size / num_generations))} answers.",
        )


def local(name: str) -> Path | None:
    """The model's folder where it is on this disk; nothing is fetched."""
    if name == MODEL_ID and not ready():
        return None
    folder = Path(locate(name)).expanduser()
    return folder if (folder / "config.json").is_file() else None


def model(params: TrainParams, folder: Path) -> None:
    """The model's own limits: its context and the names of its layers. Raises BadInput."""
    config = json.loads((folder / "config.json").read_text())
    context = config.get("text_config", config).get("max_position_embeddings")
    taken = params.num_virtual_tokens if params.adapter in PROMPTS else 0
    if context and params.max_length + taken > context:
        extra = f" and the adapter takes {taken}" if taken else ""
        raise BadInput(
            f"max_length is {params.max_length}; {params.model} reads at most {context} tokens{extra}.",
            f"Use at most {context - taken}.",
        )
    names = adapters.layers(params)
    if names and params.adapter in (*LORAS, "ia3"):
        there = read(folder)
        missing = [name for name in names if not there.has(name)]
        if missing:
            raise wrong_layers(params, there)


def rows(params: TrainParams, wants: Sequence[data.Kind], folder: Path | None) -> None:
    """Every row, and that there are enough. Raises BadData, BadInput."""
    form = data.check(params, wants)
    if form and form.chat and folder and loading.has_chat_template(str(folder)) is False:
        raise no_template(params.model)
    batch = params.per_device_train_batch_size
    if data.is_local(params.dataset) and not hasattr(params, "num_generations") and batch > _SMALL:
        total = data.look(params.dataset, wants, 1, params.columns, data.rules(params))["learned"]
        if total and total < batch:
            raise BadInput(
                f"per_device_train_batch_size is {batch}, and there are {total} rows.", f"Use at most {total}."
            )


def no_template(name: str) -> BadInput:
    return BadInput(
        f"{name} has no chat template, and the data are chats.",
        "Choose an instruct model, or data with a plain text column.",
        "model.no_chat_template",
    )


def wrong_layers(params: TrainParams, there: Weights | None = None) -> BadInput:
    """That the model has no layers of the names asked for; `there` are its weights, if they are known."""
    names = f"all-linear, or {', '.join(there.linear())}" if there else "all-linear, or names of its linear layers"
    return BadInput(f"target_modules is {params.target_modules!r}; {params.model} has no such layers.", f"Use {names}.")
