from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backend.recipes import attention


def loaded(place: Path, dtype: Any) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(place, dtype=dtype)


def padded(tokens: int = 12, side: str = "right") -> dict[str, Any]:
    import torch

    rows = torch.arange(3, 3 + 2 * tokens).reshape(2, tokens)
    mask = torch.ones_like(rows)
    if side == "right":
        mask[1, tokens - 4 :] = 0
    else:
        mask[1, :4] = 0
    labels = rows.masked_fill(mask == 0, -100)
    labels[:, :5] = -100  # what would be read off padding
    return {"input_ids": rows, "attention_mask": mask, "labels": labels}


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_it_gives_what_pytorch_gives(tiny: Path, side: str, precision: str) -> None:
    """Four heads of queries share two of keys; one row is shorter than the other."""
    import torch

    seen = []
    for ours in (False, True):
        model = loaded(tiny, getattr(torch, precision))
        if ours:
            assert attention.use(model)
        said = model(**padded(side=side))
        said.loss.backward()
        seen.append((said, {name: weight.grad for name, weight in model.named_parameters()}))
    (said, theirs), (again, mine) = seen
    exact = 1e-5 if precision == "float32" else 0.02
    real = padded(side=side)["attention_mask"].bool()
    assert torch.allclose(again.logits[real].float(), said.logits[real].float(), rtol=exact, atol=exact)
    for name, grad in theirs.items():
        assert torch.nn.functional.cosine_similarity(mine[name].flatten(), grad.flatten(), dim=0) > 1 - exact, name


def test_long_rows_and_answers_are_left_to_pytorch(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    model = loaded(tiny, torch.float32)
    rows = torch.arange(3, 12)[None]
    wanted = model.generate(rows, max_new_tokens=6, do_sample=False)
    attention.use(model)
    made: list[int] = []
    real = attention._product
    monkeypatch.setattr(attention, "_product", lambda: made.append(1) or real())
    assert torch.equal(model.generate(rows, max_new_tokens=6, do_sample=False), wanted)
    assert not made
    model(**padded(12)).loss.backward()
    assert len(made) == 2, "a layer each"
    monkeypatch.setattr(attention, "LONGEST", 11)
    model(**padded(12)).loss.backward()
    assert len(made) == 2


def test_under_autocast_it_is_left_to_pytorch(tiny: Path) -> None:
    import torch

    seen = []
    for ours in (False, True):
        model = loaded(tiny, torch.float32)
        if ours:
            attention.use(model)
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(**padded()).loss
        loss.backward()
        seen.append(model.model.layers[0].self_attn.k_proj.weight.grad)
    assert torch.equal(*seen)


def test_another_way_to_attend_is_kept(tiny: Path) -> None:
    import torch

    model = loaded(tiny, torch.float32)
    model.set_attn_implementation("eager")
    assert not attention.use(model)
    assert model.config._attn_implementation == "eager"


def test_it_is_not_written_into_the_model(tiny: Path, tmp_path: Path) -> None:
    import torch

    model = loaded(tiny, torch.float32)
    attention.use(model)
    model.save_pretrained(tmp_path)
    assert attention.NAME not in (tmp_path / "config.json").read_text()
