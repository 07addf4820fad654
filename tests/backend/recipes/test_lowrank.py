from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backend.recipes import lowrank

pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing:FutureWarning")  # said by PEFT
ROWS = [[3, 4, 5, 6, 7, 8, 9], [9, 8, 7, 6, 5, 4, 3]]


def model(place: Path, **settings: Any) -> Any:
    """A bf16 llama with LoRA whose B is not zero, as it is once it has learned."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    base = AutoModelForCausalLM.from_pretrained(place, dtype=torch.bfloat16)
    made = get_peft_model(
        base, LoraConfig(**{"r": 4, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | settings)
    )
    for name, weight in made.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.1)
    return made


def learned(one: Any) -> tuple[float, dict[str, Any]]:
    import torch

    rows = torch.tensor(ROWS)
    loss = one(input_ids=rows, labels=rows).loss
    loss.backward()
    return loss.item(), {name: weight.grad for name, weight in one.named_parameters() if weight.requires_grad}


@pytest.mark.parametrize("settings", [{}, {"use_rslora": True}, {"target_modules": ["q_proj", "down_proj"]}])
def test_it_learns_what_peft_learns(tiny: Path, settings: dict[str, Any]) -> None:
    import torch

    loss, theirs = learned(model(tiny, **settings))
    one = model(tiny, **settings)
    assert lowrank.use(one) == (4 if "target_modules" in settings else 14)
    again, mine = learned(one)
    assert again == pytest.approx(loss, rel=0.01)
    assert mine.keys() == theirs.keys()
    for name, grad in theirs.items():
        assert mine[name].dtype == torch.float32
        assert torch.nn.functional.cosine_similarity(mine[name].flatten(), grad.flatten(), dim=0) > 0.99, name
        assert float(mine[name].norm()) == pytest.approx(float(grad.norm()), rel=0.05), name


def test_without_its_adapter_it_is_the_base(tiny: Path) -> None:
    import torch

    one, rows = model(tiny), torch.tensor(ROWS)
    with one.disable_adapter():
        base = one(rows).logits
    lowrank.use(one)
    with one.disable_adapter():
        assert torch.equal(one(rows).logits, base)
    assert not torch.equal(one(rows).logits, base)
    one.merge_adapter()
    merged = one(rows).logits
    one.unmerge_adapter()
    assert torch.nn.functional.cosine_similarity(merged.flatten(), one(rows).logits.flatten(), dim=0) > 0.99


@pytest.mark.parametrize("settings", [{"lora_dropout": 0.5}, {"use_dora": True}])
def test_what_peft_does_otherwise_is_left_to_it(tiny: Path, settings: dict[str, Any]) -> None:
    import torch

    one, rows = model(tiny, **settings), torch.tensor(ROWS)
    torch.manual_seed(1)
    theirs = one(rows).logits
    lowrank.use(one)
    torch.manual_seed(1)
    assert torch.equal(one(rows).logits, theirs)


def test_weights_in_fp32_are_left_alone(tiny: Path) -> None:
    assert lowrank.use(model(tiny).float()) == 0
