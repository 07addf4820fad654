"""That runs train as plain TRL does is in test_training.py, where scripts are executed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backend.recipes import head


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_it_gives_what_trl_gives(tiny: Path, temperature: float) -> None:
    import torch
    from transformers import AutoModelForCausalLM
    from trl.trainer.utils import add_fused_lm_head

    rows = torch.arange(3, 3 + 2 * 9).reshape(2, 9)
    labels = rows.clone()
    labels[:, :5] = -100
    labels[1, 7:] = -100
    seen: list[dict[str, Any]] = []
    for ours in (False, True):
        model = AutoModelForCausalLM.from_pretrained(tiny)
        add_fused_lm_head(model, temperature, outputs=("log_probs", "entropy", "mean_logits", "is_top1"))
        if ours:
            assert head.compact(model, temperature)
        said = model(input_ids=rows, labels=labels, fused_lm_head=True)
        said.log_probs.sum().backward()
        found = {name: getattr(said, name) for name in ("loss", "log_probs", "entropy", "mean_logits", "is_top1")}
        seen.append(found | {"gradient": model.model.layers[0].mlp.up_proj.weight.grad, "mask": said.label_mask})
    theirs, mine = seen
    for name, value in theirs.items():
        assert torch.allclose(mine[name].float(), value.float(), rtol=1e-4, atol=1e-6), name


def test_it_still_writes_and_gives_logits(tiny: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM
    from trl.trainer.utils import add_fused_lm_head

    model = AutoModelForCausalLM.from_pretrained(tiny)
    rows = torch.arange(3, 12)[None]
    wanted, written = model(rows).logits, model.generate(rows, max_new_tokens=4, do_sample=False)
    assert not head.compact(model), "without TRL's head there is nothing to do"
    add_fused_lm_head(model)
    assert head.compact(model)
    assert torch.equal(model(rows).logits, wanted)
    assert model(rows, labels=rows).loss > 0
    assert torch.equal(model.generate(rows, max_new_tokens=4, do_sample=False), written)


def test_a_model_that_scales_its_logits_is_left_to_trl(tiny: Path) -> None:
    from transformers import AutoModelForCausalLM
    from trl.trainer.utils import add_fused_lm_head

    model = AutoModelForCausalLM.from_pretrained(tiny)
    model.config.final_logit_softcapping = 30.0
    add_fused_lm_head(model)
    assert not head.compact(model)
