"""That a script trains as the run does is in test_sft.py, where the run is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backend.errors import NotFound
from backend.recipes import METHODS
from backend.recipes.params import TrainParams, check
from backend.recipes.script import code


def script(folder: Path, rows: Any = None, name: str = "d.jsonl", **params: Any) -> str:
    rows = rows or [{"prompt": "a", "completion": "b"}] * 2
    (folder / name).write_text("\n".join(json.dumps(row) for row in rows))
    return code("sft", check(TrainParams, {"dataset": str(folder / name)} | params))


def test_it_is_python_and_knows_no_atelier(tmp_path: Path) -> None:
    text = script(tmp_path)
    compile(text, "script", "exec")
    assert "backend" not in text
    assert len(text.splitlines()) < 60


def test_it_says_what_was_asked_for(tmp_path: Path) -> None:
    text = script(
        tmp_path,
        max_steps=7,
        learning_rate=3e-5,
        lora_r=4,
        seed=5,
        max_rows=9,
        target_modules="q_proj",
        precision="fp32",
    )
    for part in (
        "max_steps=7",
        "learning_rate=3e-05",
        "r=4",
        "seed=5",
        "min(9, len(dataset))",
        '["q_proj"]',
        "torch.float32",
    ):
        assert part in text
    assert "max_steps" not in script(tmp_path)


def test_names_that_the_caller_resolved(tmp_path: Path) -> None:
    text = code("sft", TrainParams(), model="/models/a", dataset='/data/"x".csv', precision="fp16")
    compile(text, "script", "exec")
    assert 'MODEL = "/models/a"' in text
    assert r'load_dataset("csv", data_files="/data/\"x\".csv", split="train")' in text
    assert "torch.float16" in text


def test_a_dataset_on_the_hub() -> None:
    text = code("sft", TrainParams(dataset="owner/name", dataset_split="test", eval_rows=0))
    assert 'load_dataset("owner/name", split="test")' in text
    assert "parts" not in text
    compile(text, "script", "exec")


ALPACA = {"instruction": "add", "input": "1 2", "output": "3"}
SHAREGPT = {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]}


@pytest.mark.parametrize("row", [ALPACA, SHAREGPT])
def test_other_formats_are_converted_as_the_run_does(tmp_path: Path, row: Any) -> None:
    from datasets import load_dataset

    from backend.recipes import data

    text = script(tmp_path, [row, row], eval_rows=0)
    compile(text, "script", "exec")
    whole = text[text.index("dataset = load_dataset") : text.index("tokenizer =")]
    scope: dict[str, Any] = {"load_dataset": load_dataset}
    read = data.read(TrainParams(dataset=str(tmp_path / "d.jsonl")), ("prompt-completion", "language modelling"))
    exec(whole, scope)
    assert scope["dataset"].to_list() == read.table.to_pylist()


@pytest.mark.parametrize("more", [{}, {"max_rows": 3, "pick_rows": "random"}])
def test_rows_that_are_there_twice_are_left_out_as_the_run_does(tmp_path: Path, more: dict[str, Any]) -> None:
    from datasets import load_dataset

    from backend.recipes import data

    rows = [{"prompt": str(number % 5), "completion": "b", "id": number} for number in range(9)]
    text = script(tmp_path, rows, eval_rows=0, same_rows="drop", **more)
    scope: dict[str, Any] = {"load_dataset": load_dataset}
    whole = text[text.index("dataset = load_dataset") : text.index("tokenizer =")]
    exec(("import random\n" if more else "") + whole, scope)
    params = check(TrainParams, {"dataset": str(tmp_path / "d.jsonl"), "same_rows": "drop"} | more)
    read = data.read(params, ("prompt-completion",))
    assert scope["dataset"].remove_columns("id").to_list() == read.table.to_pylist()
    assert len(read.table) == (3 if more else 5)


@pytest.mark.parametrize("recipe", ["dpo", "reward", "kto", "orpo", "grpo", "rloo"])
def test_only_rows_of_one_text_are_grouped_by_their_length(recipe: str) -> None:
    """Trainers of pairs and answers find no length in their rows, and stop."""
    assert "train_sampling_strategy" in code("sft", TrainParams())
    assert "train_sampling_strategy" not in code(recipe, METHODS[recipe].params())


def test_conversations_ask_the_template(tmp_path: Path) -> None:
    assert "assistant_only_loss=can_mask(tokenizer)" in script(tmp_path, [SHAREGPT] * 2)
    assert "can_mask" not in script(tmp_path)


def test_no_script_for_what_is_not_there() -> None:
    with pytest.raises(NotFound):
        code("nonesuch", TrainParams())
