from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from backend.recipes import loading, samples
from backend.recipes.device import Machine, choose

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
SAID = [{"role": "assistant", "content": "hello"}]
CHAT = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"


@pytest.mark.parametrize(
    ("row", "shown", "templated", "reference"),
    [
        ({"prompt": ASKED, "completion": SAID}, "hi", CHAT, "hello"),
        ({"messages": ASKED + SAID}, "hi", CHAT, "hello"),
        ({"prompt": "1+1=", "completion": "2"}, "1+1=", "1+1=", "2"),
        ({"text": "abcdef"}, "abc", "abc", "def"),
    ],
)
def test_prompts_of_each_format(tiny: Path, row: Any, shown: str, templated: str, reference: str) -> None:
    found = samples.pick(Dataset.from_list([row, row]), 1, loading.tokenizer(str(tiny)), 8)
    assert found is not None
    assert (found.shown, found.templated, found.references) == ([shown], [templated], [reference])


def test_nothing_held_out_gives_none(tiny: Path) -> None:
    tokenizer = loading.tokenizer(str(tiny))
    assert samples.pick(None, 4, tokenizer, 8) is None
    assert samples.pick(Dataset.from_list([{"text": "abc"}]), 0, tokenizer, 8) is None


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT's own
def test_base_and_adapter_answer_and_nothing_else_changes(tiny: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    model = get_peft_model(
        loading.model(str(tiny), choose(Machine(), "fp32")),
        LoraConfig(target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"),
    )
    model.train()
    rows = Dataset.from_list([{"prompt": "a", "completion": "b"}, {"prompt": "a longer one", "completion": "c"}])
    found = samples.pick(rows, 4, loading.tokenizer(str(tiny)), 8)
    assert found is not None
    state = torch.random.get_rng_state()
    answers = found.rows(model)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert model.training
    assert [(row["prompt"], row["reference"]) for row in answers] == [("a", "b"), ("a longer one", "c")]
    assert any(row["base"] != row["answer"] for row in answers)
    found.shown, found.templated, found.references = found.shown[1:], found.templated[1:], found.references[1:]
    found.base = None
    assert found.rows(model) == answers[1:]  # padding a batch makes no difference
