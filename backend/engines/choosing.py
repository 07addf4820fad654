"""Which token comes next: the steps between the model's scores and the choice, in `generate`'s order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

_LIKELY = 256  # tokens among which the likeliest that add up to top_p are looked for first
_CLOSE = 1e-4  # sums that are nearer to top_p than this are left to the exact way

Step = Callable[
    [Any, Any], Any
]  # (ids [1, n], scores [1, vocabulary]) → scores, as transformers' processors are called


class Settings(Protocol):
    """How tokens are chosen, in the words of `generate`."""

    @property
    def temperature(self) -> float: ...
    @property
    def top_p(self) -> float: ...
    @property
    def top_k(self) -> int: ...
    @property
    def repetition_penalty(self) -> float: ...
    @property
    def seed(self) -> int: ...


def chooser(settings: Settings, device: Any, constraints: Sequence[Step] = ()) -> Callable[[Any, Any], Any]:
    """A function (ids [1, n], scores [1, vocabulary]) → the next token, in `generate`'s order of processors.

    `constraints` come after the repetition penalty and before temperature and the rest, where `generate` has its
    `prefix_allowed_tokens_fn`: what they rule out (-inf) is never chosen. Scores are float32 and may be changed.
    """
    import torch
    from transformers import (
        LogitsProcessorList,
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
    )

    steps = LogitsProcessorList()
    if settings.repetition_penalty != 1:
        steps.append(RepetitionPenaltyLogitsProcessor(float(settings.repetition_penalty)))
    steps.extend(constraints)
    if settings.temperature == 0:
        return lambda ids, scores: steps(ids, scores).argmax(dim=-1)
    if settings.temperature != 1:
        steps.append(TemperatureLogitsWarper(float(settings.temperature)))
    if settings.top_k:
        steps.append(TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1:
        steps.append(_top_p(float(settings.top_p)))
    chance = torch.Generator(device).manual_seed(settings.seed)

    def draw(ids: Any, scores: Any) -> Any:
        return torch.multinomial(steps(ids, scores).softmax(dim=-1), 1, generator=chance)[0]

    return draw


def likeliest(scores: Any, token: int, count: int) -> tuple[float, list[tuple[int, float]]]:
    """The model's own probability of `token` and of the `count` likeliest, before temperature and all other steps.

    `scores` are the model's, [1, vocabulary].
    """
    chances = scores[0].float().softmax(dim=-1)
    top = chances.topk(min(count, chances.shape[-1]))
    return float(chances[token]), list(zip(top.indices.tolist(), top.values.tolist(), strict=True))


def _top_p(top_p: float) -> Step:
    """What transformers' TopPLogitsWarper does, without sorting the whole vocabulary where a few tokens tell.

    Theirs drops, of the scores in rising order, those that add up to 1 - top_p; of equal scores the first go first.
    """
    import torch
    from transformers import TopPLogitsWarper

    whole = TopPLogitsWarper(top_p)

    def keep(ids: Any, scores: Any) -> Any:
        if scores.shape[-1] <= _LIKELY or scores.device.type != "cpu":
            return whole(ids, scores)
        likely = scores.topk(_LIKELY).values[0]
        above = (likely - scores.logsumexp(dim=-1)).exp().cumsum(dim=0)  # what each and those above it add up to
        count = 1 + int((above < top_p).sum())
        if count >= _LIKELY or float((above - top_p).abs().min()) < _CLOSE:
            return whole(ids, scores)
        if likely[count] == likely[count - 1]:  # which of equal scores go is up to the way of sorting
            return whole(ids, scores)
        return scores.masked_fill(scores < likely[count - 1], -torch.inf)

    return keep
