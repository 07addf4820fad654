from __future__ import annotations

from typing import Any

import pytest

from backend.engines.choosing import chooser, likeliest
from tests.backend.engines.talk import asks


@pytest.mark.parametrize("top_p", [0.1, 0.5, 0.95, 0.999])
@pytest.mark.parametrize("scale", [0.1, 1.0, 8.0])
def test_draws_what_transformers_steps_draw(top_p: float, scale: float) -> None:
    """Flat and steep scores over a vocabulary larger than the shortcut's."""
    import torch
    from transformers import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    params = asks("", temperature=0.8, top_p=top_p, top_k=500, seed=3)
    ours = chooser(params, "cpu")
    theirs = LogitsProcessorList([TemperatureLogitsWarper(0.8), TopKLogitsWarper(500), TopPLogitsWarper(top_p)])
    chance = torch.Generator().manual_seed(3)
    scores = torch.randn(8, 4096, generator=torch.Generator().manual_seed(0)) * scale
    ids = torch.zeros(1, 3, dtype=torch.long)
    for row in scores:
        expected = torch.multinomial(theirs(ids, row[None].clone()).softmax(dim=-1), 1, generator=chance)
        assert int(ours(ids, row[None].clone())) == int(expected)


def test_what_a_constraint_rules_out_is_never_chosen() -> None:
    import torch

    def even(ids: Any, scores: Any) -> Any:
        scores[:, 1::2] = -torch.inf
        return scores

    for settings in ({"temperature": 0}, {"temperature": 2, "top_p": 0.9}, {"repetition_penalty": 1.5}):
        choose = chooser(asks("", **settings), "cpu", [even])
        drawn = {int(choose(torch.tensor([[1]]), torch.arange(9.0)[None])) for _ in range(50)}
        assert drawn <= {0, 2, 4, 6, 8}


def test_the_likeliest_are_the_models_own() -> None:
    import torch

    scores = torch.tensor([[1.0, 2.0, 3.0, -1.0]])
    chance, top = likeliest(scores, 1, 2)
    expected = scores[0].softmax(dim=-1)
    assert chance == pytest.approx(float(expected[1]))
    assert top == [(2, pytest.approx(float(expected[2]))), (1, pytest.approx(float(expected[1])))]
    assert len(likeliest(scores, 1, 10)[1]) == 4
