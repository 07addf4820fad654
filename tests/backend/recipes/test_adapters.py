"""That each trains, saves and loads is in test_training.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backend.errors import BadInput, NotFound
from backend.recipes import adapters
from backend.recipes.params import PROMPTS, TrainParams, check


def test_lora_takes_the_settings() -> None:
    values = {"lora_r": 4, "lora_alpha": 32, "lora_dropout": 0.1, "target_modules": "q_proj, v_proj"}
    config: Any = adapters.config("lora", check(TrainParams, values | {"use_dora": True, "use_rslora": True}))
    assert (config.r, config.lora_alpha, config.lora_dropout) == (4, 32, 0.1)
    assert config.target_modules == {"q_proj", "v_proj"}
    assert config.task_type == "CAUSAL_LM"
    assert (config.use_dora, config.use_rslora, config.init_lora_weights) == (True, True, True)
    config = adapters.config("lora", TrainParams(init_lora_weights="pissa"))
    assert config.init_lora_weights == "pissa"


def test_lora_goes_to_all_linear_layers_by_default() -> None:
    config: Any = adapters.config("lora", TrainParams())
    assert config.target_modules == "all-linear"


@pytest.mark.parametrize("name", PROMPTS)
def test_virtual_tokens(name: str) -> None:
    config: Any = adapters.config(name, TrainParams(num_virtual_tokens=7))
    assert (config.num_virtual_tokens, config.task_type) == (7, "CAUSAL_LM")


def test_ia3_knows_which_of_the_layers_feed_forward() -> None:
    config: Any = adapters.config("ia3", TrainParams(target_modules="k_proj, down_proj"))
    assert (config.target_modules, config.feedforward_modules) == ({"k_proj", "down_proj"}, {"down_proj"})


def test_a_model_that_scores_has_a_new_head() -> None:
    for name in ("lora", "qlora", "ia3"):
        config: Any = adapters.config(name, TrainParams(), adapters.SCORES)
        assert (config.modules_to_save, config.task_type) == (["score"], "SEQ_CLS")


def test_another_is_refused_with_what_there_is() -> None:
    with pytest.raises(BadInput, match=f"adapter is 'lara'; here is {', '.join(adapters.ADAPTERS)}."):
        adapters.config("lara", TrainParams())


def test_what_params_allow_is_what_there_is() -> None:
    for name in adapters.ADAPTERS:
        assert check(TrainParams, {"adapter": name}).adapter == name


def folder(path: Path, **entries: Any) -> str:
    (path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "task_type": "CAUSAL_LM"} | entries))
    return str(path)


@pytest.mark.parametrize("adapter", ["lora", "qlora", "full"])
def test_a_lora_can_be_gone_on_with(tmp_path: Path, adapter: Any) -> None:
    adapters.check_start(TrainParams(adapter=adapter, start_from=folder(tmp_path)))


@pytest.mark.parametrize(
    ("values", "entries", "message"),
    [
        ({"adapter": "ia3"}, {}, "adapter is ia3, and the run to start from made lora or qlora."),
        ({}, {"peft_type": "IA3"}, "adapter is lora, and the run to start from made ia3."),
        (
            {"adapter": "full"},
            {"peft_type": "PREFIX_TUNING"},
            "adapter is full, and the run to start from made prefix_tuning.",
        ),
        ({"init_lora_weights": "pissa"}, {}, "init_lora_weights is pissa, and start_from names weights to begin with."),
        ({}, {"base_model_name_or_path": "a/b"}, "start_from was made for b, and model is SmolLM2-135M-Instruct."),
        ({}, {"task_type": "SEQ_CLS"}, "start_from names a reward model, which scores and can't write."),
    ],
)
def test_what_can_not_is_told(tmp_path: Path, values: Any, entries: Any, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        adapters.check_start(TrainParams(start_from=folder(tmp_path, **entries), **values))
    assert caught.value.message == message


def test_nothing_to_go_on_with(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="which has no adapter"):
        adapters.check_start(TrainParams(start_from=str(tmp_path)))
