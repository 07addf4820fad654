"""What is trained on top of a frozen model: a function for each adapter in `ADAPTERS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from backend.errors import BadInput
from backend.recipes.params import TrainParams

if TYPE_CHECKING:
    from peft import LoraConfig, PeftConfig


def lora(params: TrainParams) -> LoraConfig:
    """Two small matrices beside each chosen layer."""
    from peft import LoraConfig

    names = [name.strip() for name in params.target_modules.split(",") if name.strip()]
    return LoraConfig(
        r=params.lora_r,
        lora_alpha=params.lora_alpha,
        lora_dropout=params.lora_dropout,
        target_modules="all-linear" if names in ([], ["all-linear"]) else names,
        task_type="CAUSAL_LM",
    )


ADAPTERS: dict[str, Callable[[TrainParams], PeftConfig]] = {
    "lora": lora,
}


def config(name: str, params: TrainParams) -> PeftConfig:
    """PEFT's configuration of the adapter `name`. Raises BadInput for one that isn't here."""
    if name not in ADAPTERS:
        raise BadInput(f"adapter is {name!r}; here is {', '.join(ADAPTERS)}.", "Use one of these.", "adapter.unknown")
    return ADAPTERS[name](params)
