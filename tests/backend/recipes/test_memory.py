"""The estimate beside what real runs took: the tiny model here, the starter in the long test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backend import events as ev
from backend.recipes import METHODS, adapters, limits, memory, preflight
from backend.recipes.params import PROMPTS, TrainParams, check
from backend.recipes.weights import read
from backend.starter import MODEL_ID


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("adapter", adapters.ADAPTERS)
def test_the_number_of_trained_weights_is_pefts(adapter: str, tiny: Path) -> None:
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    params = check(TrainParams, {"adapter": adapter, "lora_r": 4})
    sizes = memory.sizes(tiny)
    assert sizes is not None
    model = AutoModelForCausalLM.from_pretrained(tiny)
    config = adapters.config(adapter, params)
    if config is not None:
        model = get_peft_model(model, config)
    wanted = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    assert memory.count(params, sizes, read(tiny)) == pytest.approx(wanted, rel=0.1 if adapter in PROMPTS else 0)


def test_more_of_anything_takes_more(tiny: Path) -> None:
    def total(**more: Any) -> int:
        asked = check(TrainParams, {"adapter": "lora"} | more)
        found = memory.estimate("sft", asked, tiny, 100, 100, 4)
        assert found is not None
        return found.total

    assert total(per_device_train_batch_size=16) > total()
    assert total(gradient_checkpointing="on") < total()
    assert total(max_length=50) < total()
    assert total(adapter="full") > total(adapter="prompt_tuning")


def test_nothing_is_said_of_what_is_not_known(tmp_path: Path) -> None:
    assert memory.estimate("sft", TrainParams(), tmp_path, 10, 10, 4) is None
    (tmp_path / "config.json").write_text('{"model_type": "odd"}')
    assert memory.sizes(tmp_path) is None


def took(folder: Path, recipe: str, **params: Any) -> float:
    """Bytes that a dry run took at most."""
    (folder / "params.json").write_text(json.dumps(params | {"dry_run": True}))
    done = subprocess.run(
        [sys.executable, "-m", METHODS[recipe].module, str(folder / "params.json")],
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    last = ev.parse(done.stdout.splitlines()[-1])
    assert isinstance(last, ev.Finished), done.stdout
    return float(last.values["memory_gb"]) * 1e9


def said(recipe: str, **params: Any) -> float:
    asked = check(METHODS[recipe].params, params)
    place = preflight.Place(64_000_000_000, 64_000_000_000, 2)
    found = preflight.estimate(recipe, asked, METHODS[recipe].wants, limits.local(asked.model), place)
    return float(found["memory"]["needed"])


def test_a_tiny_run_takes_what_was_said(tiny: Path, tmp_path: Path) -> None:
    params = {"model": str(tiny), "precision": "fp32", "adapter": "full"}
    assert said("sft", **params) == pytest.approx(took(tmp_path, "sft", **params), rel=0.2)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("recipe", "params"),
    [
        ("sft", {}),
        ("sft", {"per_device_train_batch_size": 32}),
        ("sft", {"adapter": "full", "per_device_train_batch_size": 16}),
        ("sft", {"adapter": "qlora"}),
        ("sft", {"adapter": "prefix_tuning", "per_device_train_batch_size": 16}),
        ("dpo", {}),
        ("reward", {}),
        ("kto", {}),
        ("grpo", {}),
        ("orpo", {}),
    ],
)
def test_a_run_of_the_starter_takes_what_was_said(
    recipe: str, params: dict[str, Any], starter: Path, tmp_path: Path
) -> None:
    assert limits.local(MODEL_ID) == starter
    assert said(recipe, **params) == pytest.approx(took(tmp_path, recipe, precision="bf16", **params), rel=0.2)
