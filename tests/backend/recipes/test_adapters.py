from __future__ import annotations

import pytest

from backend.errors import BadInput
from backend.recipes import adapters
from backend.recipes.params import LATER, TrainParams, check


def test_lora_takes_the_settings() -> None:
    values = {"lora_r": 4, "lora_alpha": 32, "lora_dropout": 0.1, "target_modules": "q_proj, v_proj"}
    config = adapters.config("lora", check(TrainParams, values))
    assert (config.r, config.lora_alpha, config.lora_dropout) == (4, 32, 0.1)
    assert config.target_modules == {"q_proj", "v_proj"}
    assert config.task_type == "CAUSAL_LM"


def test_lora_goes_to_all_linear_layers_by_default() -> None:
    assert adapters.config("lora", TrainParams()).target_modules == "all-linear"


@pytest.mark.parametrize("name", [*LATER, "lara"])
def test_another_is_refused_with_what_there_is(name: str) -> None:
    with pytest.raises(BadInput, match=f"adapter is '{name}'; here is lora."):
        adapters.config(name, TrainParams())


def test_what_params_allow_is_what_there_is() -> None:
    for name in adapters.ADAPTERS:
        assert check(TrainParams, {"adapter": name}).adapter == name
