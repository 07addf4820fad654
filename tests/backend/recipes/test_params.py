from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from backend.errors import BadInput
from backend.recipes.dpo import DpoParams
from backend.recipes.params import PROMPTS, TrainParams, check
from backend.starter import MODEL_ID


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_steps": 0}, "max_steps is 0; use at least 1, or leave it empty to train by epochs."),
        ({"max_steps": "0"}, "max_steps is 0; use at least 1, or leave it empty to train by epochs."),
        ({"max_steps": -3}, "max_steps is -3; use at least 1, or leave it empty to train by epochs."),
        ({"max_steps": 2_000_000}, "max_steps is 2000000; use at most 1,000,000."),
        ({"max_steps": 1.5}, "max_steps is 1.5; it must be a whole number such as 100."),
        ({"max_steps": True}, "max_steps is True; true and false are not numbers or names; write the value itself."),
        ({"learning_rate": "abc"}, "learning_rate is 'abc'; it must be a number such as 0.001."),
        ({"learning_rate": 0}, "learning_rate is 0; use more than 0."),
        ({"learning_rate": 100}, "learning_rate is 100; use at most 10."),
        ({"learning_rate": float("nan")}, "learning_rate is nan; it must be a number such as 0.001."),
        ({"learning_rate": "inf"}, "learning_rate is inf; it must be a number such as 0.001."),
        ({"learning_rat": 1}, "There is no setting 'learning_rat'; did you mean 'learning_rate'?"),
        ({"zzz": 1}, "There is no setting 'zzz'; leave it out."),
        ({"lora_r": "8.5"}, "lora_r is 8.5; it must be a whole number such as 8."),
        ({"lora_r": 0}, "lora_r is 0; use at least 1."),
        ({"lora_dropout": 1}, "lora_dropout is 1; use less than 1."),
        ({"num_train_epochs": [1]}, "num_train_epochs is [1]; it must be a number such as 1."),
        ({"num_train_epochs": 0}, "num_train_epochs is 0; use more than 0."),
        ({"per_device_train_batch_size": 0}, "per_device_train_batch_size is 0; use at least 1."),
        ({"max_length": 0}, "max_length is 0; use at least 8."),
        ({"max_rows": 1}, "max_rows is 1; training needs at least 2; use 0 for all."),
        ({"seed": -1}, "seed is -1; use at least 0."),
        ({"seed": "x" * 99}, f"seed is '{'x' * 56}…; it must be a whole number such as 0."),
        ({"model": 5}, "model is 5; it must be text."),
        (
            {"adapter": "lara"},
            "adapter is 'lara'; use lora, qlora, prefix_tuning, p_tuning, prompt_tuning, ia3 or full.",
        ),
        ({"use_dora": "perhaps"}, "use_dora is 'perhaps'; use true or false."),
        ({"precision": "int8"}, "precision is 'int8'; use auto, fp32, bf16 or fp16."),
        ([], "The settings are []; they must be an object of names and values."),
    ],
)
def test_a_message_names_the_value_the_rule_and_the_next_step(values: Any, message: str) -> None:
    with pytest.raises(BadInput) as caught:
        check(TrainParams, values)
    assert caught.value.message == message
    assert caught.value.hint


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(BadInput) as caught:
        check(TrainParams, {"max_steps": 0, "lora_r": "many"})
    assert "max_steps is 0" in caught.value.message
    assert "lora_r is 'many'" in caught.value.message


def test_text_from_a_form_is_read_as_numbers() -> None:
    params = check(TrainParams, {"learning_rate": "1e-4", "max_steps": " 20 ", "lora_r": "4", "model": " a/b "})
    assert (params.learning_rate, params.max_steps, params.lora_r, params.model) == (1e-4, 20, 4, "a/b")


@pytest.mark.parametrize("nothing", ["", None])
def test_what_is_empty_has_its_default(nothing: Any) -> None:
    assert check(TrainParams, dict.fromkeys(TrainParams.model_fields, nothing)) == TrainParams()
    assert TrainParams().model == MODEL_ID
    assert TrainParams().dataset == "sample/instructions"


def test_a_list_of_modules_is_taken_too() -> None:
    assert check(TrainParams, {"target_modules": ["q_proj", "v_proj"]}).target_modules == "q_proj, v_proj"


def test_they_go_through_json_and_back() -> None:
    params = check(TrainParams, {"max_steps": 3, "learning_rate": 1e-5})
    assert check(TrainParams, params.model_dump(mode="json")) == params


def test_they_are_frozen() -> None:
    with pytest.raises(ValidationError):
        TrainParams().seed = 1  # type: ignore[misc]


def test_each_is_described_for_its_form() -> None:
    assert [name for name, field in TrainParams.model_fields.items() if not (field.title and field.description)] == []


def test_the_learning_rate_fits_method_and_adapter() -> None:
    """Ten times as much with LoRA, more for what is small; what is given stays."""
    assert (TrainParams().learning_rate, TrainParams(adapter="full").learning_rate) == (1e-3, 2e-5)
    assert check(DpoParams, {"learning_rate": ""}).learning_rate == pytest.approx(1e-4)
    assert all(1e-2 <= (DpoParams(adapter=name).learning_rate or 0) <= 3e-2 for name in PROMPTS)
    assert check(DpoParams, {"learning_rate": "3e-4", "adapter": "full"}).learning_rate == 3e-4


def test_yes_and_no() -> None:
    assert check(TrainParams, {"use_dora": True, "use_rslora": "true"}).use_dora
