"""What is trained: a function for each adapter in `ADAPTERS`, and the adapter of an earlier run taken up again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.errors import BadInput, NotFound
from backend.recipes.params import LORAS, PROMPTS, TrainParams

if TYPE_CHECKING:
    from peft import IA3Config, LoraConfig, PeftConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig
    from transformers import PreTrainedModel

WRITES, SCORES = "CAUSAL_LM", "SEQ_CLS"  # PEFT's names of what a model is for
HEAD = ("score",)  # of a model that scores: new, so trained whole beside any adapter
ENCODER = 128  # width of the network behind p-tuning
_FEED_FORWARD = ("down_proj", "fc2", "w2", "wo", "c_proj", "dense_4h_to_h")
_KINDS = {"LORA": LORAS, "IA3": ("ia3",), "PREFIX_TUNING": ("prefix_tuning",), "P_TUNING": ("prompt_tuning",)}
_KINDS |= {"PROMPT_TUNING": ("prompt_tuning",)}


def lora(params: TrainParams, task: str = WRITES) -> LoraConfig:
    """Two small matrices beside each chosen layer (2106.09685), with rsLoRA, DoRA and PiSSA where asked for."""
    from peft import LoraConfig

    return LoraConfig(
        r=params.lora_r,
        lora_alpha=params.lora_alpha,
        lora_dropout=params.lora_dropout,
        use_rslora=params.use_rslora,
        use_dora=params.use_dora,
        init_lora_weights="pissa" if params.init_lora_weights == "pissa" else True,
        target_modules=layers(params) or "all-linear",
        modules_to_save=list(HEAD) if task == SCORES else None,
        task_type=task,
    )


def prefix_tuning(params: TrainParams, task: str = WRITES) -> PrefixTuningConfig:
    """Keys and values that every layer attends to, before those of the text (2101.00190)."""
    from peft import PrefixTuningConfig

    return PrefixTuningConfig(num_virtual_tokens=params.num_virtual_tokens, task_type=task)


def p_tuning(params: TrainParams, task: str = WRITES) -> PromptEncoderConfig:
    """Embeddings before the text, made by a small network (2103.10385)."""
    from peft import PromptEncoderConfig

    return PromptEncoderConfig(
        num_virtual_tokens=params.num_virtual_tokens, encoder_hidden_size=ENCODER, task_type=task
    )


def prompt_tuning(params: TrainParams, task: str = WRITES) -> PromptTuningConfig:
    """Embeddings before the text, trained themselves (2104.08691)."""
    from peft import PromptTuningConfig

    return PromptTuningConfig(num_virtual_tokens=params.num_virtual_tokens, task_type=task)


def ia3(params: TrainParams, task: str = WRITES) -> IA3Config:
    """A factor for each key, value and inner activation (2205.05638)."""
    from peft import IA3Config

    names = layers(params)
    return IA3Config(
        target_modules=names or None,  # PEFT knows which, for the architectures that it knows
        feedforward_modules=feed_forward(names) if names else None,
        modules_to_save=list(HEAD) if task == SCORES else None,
        task_type=task,
    )


def full(params: TrainParams, task: str = WRITES) -> None:
    """Nothing on top: all the weights themselves."""


ADAPTERS: dict[str, Callable[..., PeftConfig | None]] = {
    "lora": lora,
    "qlora": lora,  # the same on top of a base in 4 bits (2305.14314)
    "prefix_tuning": prefix_tuning,
    "p_tuning": p_tuning,
    "prompt_tuning": prompt_tuning,
    "ia3": ia3,
    "full": full,
}


def config(name: str, params: TrainParams, task: str = WRITES) -> PeftConfig | None:
    """PEFT's configuration of the adapter `name`, None for `full`. Raises BadInput for one that isn't here."""
    if name not in ADAPTERS:
        raise BadInput(f"adapter is {name!r}; here is {', '.join(ADAPTERS)}.", "Use one of these.", "adapter.unknown")
    return ADAPTERS[name](params, task)


def layers(params: TrainParams) -> list[str]:
    """The names in `target_modules`, none of them for all linear layers."""
    names = [name.strip() for name in params.target_modules.split(",") if name.strip()]
    return [] if names == ["all-linear"] else names


def feed_forward(names: list[str]) -> list[str]:
    """Those of the layers whose inputs IA³ scales."""
    return [name for name in names if name.endswith(_FEED_FORWARD)]


def check_start(params: TrainParams, task: str = WRITES) -> None:
    """That what `start_from` names can be gone on with. Raises BadInput, NotFound."""
    if not params.start_from:
        return
    entries = _entries(params.start_from)
    base = entries.get("base_model_name_or_path")
    if base and base != params.model:
        raise BadInput(
            f"start_from was made for {Path(base).name}, and model is {Path(params.model).name}.",
            "Choose the model that it was made for.",
            "start_from.model",
        )
    kinds = _KINDS.get(str(entries.get("peft_type")), ())
    whole = params.adapter == "full" and not set(kinds) & set(PROMPTS)  # merged into the weights
    if not whole and params.adapter not in kinds:
        raise BadInput(
            f"adapter is {params.adapter}, and the run to start from made {' or '.join(kinds) or 'something else'}.",
            f"Use {kinds[0] if kinds else 'another run'}, or merge that run into a model and start from the model.",
            "start_from.adapter",
        )
    if params.init_lora_weights == "pissa":
        raise BadInput(
            "init_lora_weights is pissa, and start_from names weights to begin with.",
            "Use default, or leave start_from empty.",
            "start_from.pissa",
        )
    if entries.get("task_type") == SCORES and task != SCORES:
        raise BadInput(
            "start_from names a reward model, which scores and can't write.", "Name it as the reward instead."
        )


def take_up(model: PreTrainedModel, params: TrainParams, task: str = WRITES) -> Any:
    """`model` with the adapter of `start_from` on it, ready to be trained on; merged into the weights for `full`.

    A model that scores takes what a model that writes has learned, and its own head is new. Of p-tuning the embeddings
    are kept and not the network that made them, so that they are gone on with as prompt tuning.
    """
    from peft import (
        PeftConfig,
        PromptTuningConfig,
        get_peft_model,
        get_peft_model_state_dict,
        set_peft_model_state_dict,
    )
    from safetensors.torch import load_file

    made = PeftConfig.from_pretrained(params.start_from)
    if params.adapter == "prompt_tuning":
        made = PromptTuningConfig(num_virtual_tokens=made.num_virtual_tokens)
    made.task_type, made.inference_mode = task, False
    if params.adapter not in PROMPTS:
        made.modules_to_save = list(HEAD) if task == SCORES and params.adapter != "full" else None
    found = get_peft_model(model, made)
    learned = load_file(Path(params.start_from) / "adapter_model.safetensors")
    set_peft_model_state_dict(found, get_peft_model_state_dict(found) | learned)
    if params.adapter == "full":
        return found.merge_and_unload().requires_grad_(True)
    return found


def _entries(folder: str) -> dict[str, Any]:
    try:
        entries: dict[str, Any] = json.loads((Path(folder) / "adapter_config.json").read_text())
    except (OSError, ValueError):
        raise NotFound(
            f"start_from is {Path(folder).name!r}, which has no adapter.", "Name run/ID of a run that made one."
        ) from None
    return entries
