"""The arithmetic of proximal policy optimisation, on tensors of rows × answer tokens; `mask` is true where a token is.

PPO                      Schulman et al. 2017, arXiv 1707.06347: the clipped objective
GAE                      Schulman et al. 2015, arXiv 1506.02438: advantages from values
fine-tuning by reward    Ziegler et al. 2019, arXiv 1909.08593: a penalty per token on leaving the base, adaptive
InstructGPT              Ouyang et al. 2022, arXiv 2203.02155: the same with a reward model, at the end of an answer
implementation details   Huang et al. 2024, arXiv 2403.17031: whitening, clipped values, the missing end token
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """The mean over the tokens that are."""
    return (values * mask).sum() / mask.sum().clamp(min=1)


def whiten(values: Tensor, mask: Tensor) -> Tensor:
    """Mean 0 and variance 1 over the tokens that are; 0 elsewhere."""
    mean = masked_mean(values, mask)
    variance = masked_mean((values - mean) ** 2, mask)
    return (values - mean) * (variance + 1e-8).rsqrt() * mask


def token_rewards(scores: Tensor, logprobs: Tensor, base_logprobs: Tensor, mask: Tensor, kl_coef: float) -> Tensor:
    """What each token earns: less for leaving the base, and the answer's score (one per row) at its last token.

    log π(token) − log base(token), summed over an answer, is an unbiased estimate of the divergence KL(π‖base).
    """
    import torch

    rewards = -kl_coef * (logprobs - base_logprobs) * mask
    last = mask.sum(1).long() - 1
    rewards[torch.arange(len(rewards), device=rewards.device), last] += scores
    return rewards


def advantages_and_returns(
    rewards: Tensor, values: Tensor, mask: Tensor, gamma: float, lam: float
) -> tuple[Tensor, Tensor]:
    """Generalised advantage estimation, backwards through each answer, and what the values should have been.

        δ_t = r_t + γ V_{t+1} − V_t            A_t = δ_t + γ λ A_{t+1}            return_t = A_t + V_t

    After the last token there is nothing: V and A are 0 there.
    """
    import torch

    values = values * mask
    advantages = torch.zeros_like(rewards)
    ahead = next_value = torch.zeros_like(rewards[:, 0])
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        ahead = (delta + gamma * lam * ahead) * mask[:, t]
        advantages[:, t], next_value = ahead, values[:, t]
    return advantages, advantages + values


def policy_loss(logprobs: Tensor, old: Tensor, advantages: Tensor, cliprange: float) -> tuple[Tensor, Tensor]:
    """−min(ρA, clip(ρ)A) of each token with ρ = π/π_old, to be made small, and where the clip held."""
    import torch

    ratio = (logprobs - old).exp()
    free, held = -advantages * ratio, -advantages * ratio.clamp(1 - cliprange, 1 + cliprange)
    return torch.maximum(free, held), held > free


def value_loss(values: Tensor, old: Tensor, returns: Tensor, cliprange: float) -> tuple[Tensor, Tensor]:
    """Half the squared error of each token's value, which may move `cliprange` at a time, and where the clip held."""
    import torch

    free = (values - returns) ** 2
    held = (old + (values - old).clamp(-cliprange, cliprange) - returns) ** 2
    return 0.5 * torch.maximum(free, held), held > free


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float:
    """1 where values foretell the returns, 0 where they know nothing; 0 where all returns are the same."""
    error = (returns - values)[mask.bool()].var(unbiased=False)
    spread = returns[mask.bool()].var(unbiased=False)
    return float(1 - error / spread) if spread > 0 else 0.0


def adapted(kl_coef: float, kl: float, target: float, rows: int, horizon: int) -> float:
    """The penalty for the next step: more where answers are further from the base than `target`, by up to a fifth.

    `rows` answers of `horizon` make one whole move (Ziegler et al., section 2.2).
    """
    error = min(0.2, max(-0.2, kl / target - 1))
    return kl_coef * (1 + error * rows / horizon)
