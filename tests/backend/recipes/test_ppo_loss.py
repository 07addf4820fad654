"""The arithmetic of PPO against numbers worked out by hand and against loops that follow the papers word by word."""

from __future__ import annotations

import math

import pytest
import torch

from backend.recipes.ppo_loss import (
    adapted,
    advantages_and_returns,
    explained_variance,
    masked_mean,
    policy_loss,
    token_rewards,
    value_loss,
    whiten,
)

ROWS, TOKENS = 5, 7
LENGTHS = (7, 1, 4, 6, 2)


@pytest.fixture
def mask() -> torch.Tensor:
    return torch.arange(TOKENS) < torch.tensor(LENGTHS)[:, None]


def test_advantages_by_hand() -> None:
    """Two tokens, γ = 0.5, λ = 0.5: δ₁ = 2 − 3 = −1 and A₁ = −1; δ₀ = 1 + 0.5·3 − 2 = 0.5 and A₀ = 0.5 − 0.25."""
    advantages, returns = advantages_and_returns(
        torch.tensor([[1.0, 2.0, 9.0]]), torch.tensor([[2.0, 3.0, 9.0]]), torch.tensor([[True, True, False]]), 0.5, 0.5
    )
    assert advantages.tolist() == [[0.25, -1.0, 0.0]]
    assert returns.tolist() == [[2.25, 2.0, 0.0]]


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.0), (0.9, 1.0), (1.0, 1.0)])
def test_advantages_are_the_sum_of_the_paper(mask: torch.Tensor, gamma: float, lam: float) -> None:
    """A_t = Σ (γλ)^l δ_{t+l}, row by row, token by token (arXiv 1506.02438, equation 16)."""
    rewards, values = torch.randn(ROWS, TOKENS), torch.randn(ROWS, TOKENS)
    advantages, returns = advantages_and_returns(rewards, values, mask, gamma, lam)
    for row, length in enumerate(LENGTHS):
        r, v = rewards[row].tolist(), [*values[row, :length].tolist(), 0.0]
        deltas = [r[t] + gamma * v[t + 1] - v[t] for t in range(length)]
        for t in range(TOKENS):
            whole = sum((gamma * lam) ** (k - t) * deltas[k] for k in range(t, length))
            assert advantages[row, t].item() == pytest.approx(whole, abs=1e-5)
            assert returns[row, t].item() == pytest.approx(whole + v[t] if t < length else 0, abs=1e-5)


def test_with_lambda_1_returns_are_what_was_earned(mask: torch.Tensor) -> None:
    rewards, values = torch.randn(ROWS, TOKENS) * mask, torch.randn(ROWS, TOKENS)
    _, returns = advantages_and_returns(rewards, values, mask, 1.0, 1.0)
    assert torch.allclose(returns[:, 0], rewards.sum(1), atol=1e-5)


def test_a_score_comes_at_the_last_token_and_distance_costs_at_each() -> None:
    rewards = token_rewards(
        torch.tensor([10.0, 20.0]),
        torch.tensor([[-1.0, -2.0], [-1.0, 5.0]]),
        torch.tensor([[-1.5, -1.0], [-3.0, 7.0]]),
        torch.tensor([[True, True], [True, False]]),
        0.1,
    )
    assert rewards.tolist() == [[pytest.approx(-0.05), pytest.approx(10.1)], [pytest.approx(19.8), 0.0]]


def test_whitened_is_mean_0_and_variance_1_of_what_is_there(mask: torch.Tensor) -> None:
    white = whiten(torch.randn(ROWS, TOKENS) * 3 + 5, mask)
    there = white[mask]
    assert there.mean().item() == pytest.approx(0, abs=1e-5)
    assert there.var(unbiased=False).item() == pytest.approx(1, abs=1e-4)
    assert white[~mask].abs().max() == 0
    assert masked_mean(torch.tensor([[1.0, 3.0, 99.0]]), torch.tensor([[True, True, False]])) == 2


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "clipped"),
    [
        (1.0, 2.0, -2.0, False),
        (1.5, 2.0, -2.4, True),  # gains no more than 1.2 gives
        (0.5, 2.0, -1.0, False),  # a loss is taken whole
        (0.5, -2.0, 1.6, True),
        (1.5, -2.0, 3.0, False),
    ],
)
def test_the_clipped_objective_by_hand(ratio: float, advantage: float, loss: float, clipped: bool) -> None:
    new, old = torch.tensor([[math.log(ratio) - 3]]), torch.tensor([[-3.0]])
    found, held = policy_loss(new, old, torch.tensor([[advantage]]), 0.2)
    assert (found.item(), held.item()) == (pytest.approx(loss, abs=1e-5), clipped)


def test_the_clip_stops_the_gradient() -> None:
    """Beyond the clip a token teaches nothing more; within it the gradient is −A·ρ."""
    for ratio, gradient in ((1.1, -2.2), (1.3, 0.0)):
        new = torch.tensor([[math.log(ratio)]], requires_grad=True)
        policy_loss(new, torch.zeros(1, 1), torch.tensor([[2.0]]), 0.2)[0].sum().backward()
        assert new.grad is not None
        assert new.grad.item() == pytest.approx(gradient, abs=1e-5)


@pytest.mark.parametrize(
    ("value", "old", "earned", "loss", "clipped"),
    [(1.1, 1.0, 2.0, 0.405, False), (1.5, 1.0, 2.0, 0.32, True), (0.5, 1.0, 2.0, 1.125, False)],
)
def test_the_value_loss_by_hand(value: float, old: float, earned: float, loss: float, clipped: bool) -> None:
    found, held = value_loss(torch.tensor([[value]]), torch.tensor([[old]]), torch.tensor([[earned]]), 0.2)
    assert (found.item(), held.item()) == (pytest.approx(loss, abs=1e-5), clipped)


def test_what_values_explain(mask: torch.Tensor) -> None:
    returns = torch.randn(ROWS, TOKENS)
    assert explained_variance(returns, returns, mask) == pytest.approx(1)
    assert explained_variance(torch.zeros(ROWS, TOKENS), returns, mask) == pytest.approx(0, abs=1e-5)
    assert explained_variance(torch.zeros(ROWS, TOKENS), torch.ones(ROWS, TOKENS), mask) == 0


def test_the_penalty_follows_its_target() -> None:
    assert adapted(0.1, 6.0, 6.0, 64, 6400) == pytest.approx(0.1)
    assert adapted(0.1, 60.0, 6.0, 64, 6400) == pytest.approx(0.1 * 1.002)
    assert adapted(0.1, 0.0, 6.0, 64, 6400) == pytest.approx(0.1 * 0.998)
    assert adapted(0.1, 6.6, 6.0, 6400, 6400) == pytest.approx(0.11)
