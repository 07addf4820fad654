"""Wrong settings, each answered before anything is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backend.errors import BadInput, NotFound
from backend.recipes import METHODS
from backend.recipes.params import check
from tests.tiny import tiny_model


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    row = {"prompt": "Say it", "chosen": "ok", "rejected": "no"}
    (tmp_path / "pairs.jsonl").write_text("\n".join(json.dumps(row | {"chosen": f"ok {i}"}) for i in range(8)))
    return tmp_path / "pairs.jsonl"


@pytest.mark.parametrize(
    ("method", "values", "message"),
    [
        ("dpo", {"max_length": 513}, "max_length is 513; tiny0 reads at most 512 tokens."),
        (
            "dpo",
            {"max_length": 500, "adapter": "prompt_tuning"},
            "max_length is 500; tiny0 reads at most 512 tokens and the adapter takes 20.",
        ),
        ("dpo", {"target_modules": "query"}, "target_modules is 'query'; tiny0 has no such layers."),
        ("dpo", {"target_modules": "q_proj, nose", "adapter": "ia3"}, "target_modules is 'q_proj, nose'; tiny0 has no"),
        ("dpo", {"init_lora_weights": "pissa"}, "init_lora_weights is pissa, which moves a part of the base"),
        ("orpo", {"init_lora_weights": "pissa", "adapter": "qlora"}, "which needs the weights themselves, not 4 bits"),
        (
            "orpo",
            {"adapter": "prefix_tuning", "gradient_checkpointing": "on"},
            "gradient_checkpointing is on, and prefix tuning can't train with it.",
        ),
        (
            "grpo",
            {"per_device_train_batch_size": 6, "num_generations": 4},
            "is 6, and num_generations is 4: a step must hold all",
        ),
        ("rloo", {"reward": "nicest"}, "reward is 'nicest'; there is no such reward."),
        ("dpo", {"per_device_train_batch_size": 64}, "per_device_train_batch_size is 64, and there are 8 rows"),
        ("dpo", {"eval_rows": 0, "start_from": "/nowhere/at/all"}, "start_from is 'all', which has no adapter."),
    ],
)
def test_each_is_answered_with_what_to_do(
    method: str, values: dict[str, Any], message: str, tiny: Path, pairs: Path
) -> None:
    asked = {"model": str(tiny), "dataset": str(pairs)} | values
    with pytest.raises((BadInput, NotFound)) as caught:
        METHODS[method].preflight(check(METHODS[method].params, asked))
    assert message in caught.value.message.replace(str(tiny), "tiny0")
    assert caught.value.hint


@pytest.mark.parametrize("method", ["grpo", "rloo"])
@pytest.mark.parametrize(
    ("batch", "answers"), [({}, 4), ({"per_device_train_batch_size": 2}, 2), ({"per_device_train_batch_size": 6}, 3)]
)
def test_answers_a_prompt_follow_the_batch_where_they_are_left_out(
    method: str, batch: dict[str, Any], answers: int
) -> None:
    assert check(METHODS[method].params, batch).num_generations == answers
    assert check(METHODS[method].params, batch | {"num_generations": 2}).num_generations == 2


def test_the_layers_that_there_are_are_told(tiny: Path, pairs: Path) -> None:
    asked = {"model": str(tiny), "dataset": str(pairs), "target_modules": "query"}
    with pytest.raises(BadInput) as caught:
        METHODS["dpo"].preflight(check(METHODS["dpo"].params, asked))
    assert "q_proj, v_proj" in caught.value.hint or "q_proj" in caught.value.hint
    METHODS["dpo"].preflight(check(METHODS["dpo"].params, asked | {"target_modules": "q_proj, self_attn.v_proj"}))


def test_chats_need_a_template(tmp_path: Path) -> None:
    rows = [{"prompt": [{"role": "user", "content": f"{i}"}], "completion": "ok"} for i in range(4)]
    chat = [row | {"completion": [{"role": "assistant", "content": "ok"}]} for row in rows]
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, chat)))
    asked = {"model": str(tiny_model(tmp_path / "base", chat=False)), "dataset": str(tmp_path / "d.jsonl")}
    with pytest.raises(BadInput, match="has no chat template"):
        METHODS["grpo"].preflight(check(METHODS["grpo"].params, asked | {"per_device_train_batch_size": 4}))


def test_trackio_is_for_those_who_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from backend.recipes import limits, ppo

    params = check(METHODS["sft"].params, {"report_to": "trackio"})
    monkeypatch.setattr(limits, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"trackio is not installed where Atelier runs\. Install it there"):
        limits.settings(params)
    monkeypatch.setattr(limits, "find_spec", lambda name: name)
    limits.settings(params)
    with pytest.raises(BadInput, match="PPO's figures go to the run view alone"):
        ppo.preflight(check(ppo.Params, {"report_to": "trackio"}))
