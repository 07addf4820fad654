"""Ratings from comparisons of two: the Bradley-Terry model, on the scale of chess (400 points are odds of 10 to 1).

Every pair that met is given half a win each way more than it had, so that one who never lost has a rating, too; with
few comparisons that draws ratings together. Method: Hunter 2004 (minorise, then maximise); intervals by drawing the
comparisons anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy
from numpy.typing import NDArray

Array = NDArray[Any]
MEAN, SCALE = 1000.0, 400.0 / numpy.log(10.0)
DRAWS = 1000
_STEPS = 200
_HALF = 0.5


def ratings(comparisons: Sequence[tuple[int, int, float]], many: int, seed: int = 0) -> list[dict[str, Any]]:
    """{rating, low, high, n, wins, ties, losses} for each of `many`; None where one was never compared.

    A comparison is (a, b, what a got): 1 for a win, 0.5 for a tie, 0 for a loss.
    """
    games = numpy.array(comparisons, float).reshape(-1, 3)
    a, b, got = games[:, 0].astype(int), games[:, 1].astype(int), games[:, 2]
    point = _fitted(_wins(a, b, got, many)[None])[0]
    draws = numpy.full((0, many), numpy.nan)
    if len(games) > 1:
        rng = numpy.random.default_rng(seed)
        drawn = [rng.integers(0, len(games), len(games)) for _ in range(DRAWS)]
        draws = _fitted(numpy.stack([_wins(a[one], b[one], got[one], many) for one in drawn]))
    told = []
    for who in range(many):
        mine = numpy.concatenate([got[a == who], 1 - got[b == who]])
        span = draws[:, who][numpy.isfinite(draws[:, who])]
        low, high = numpy.quantile(span, [0.025, 0.975]) if len(span) else (numpy.nan, numpy.nan)
        counts = {"wins": int((mine == 1).sum()), "ties": int((mine == 0.5).sum()), "losses": int((mine == 0).sum())}
        figures = {"rating": point[who], "low": low, "high": high}
        told.append({key: _finite(value) for key, value in figures.items()} | {"n": len(mine)} | counts)
    return told


def _wins(a: Array, b: Array, got: Array, many: int) -> Array:
    """[many, many]: what the one of the row got of the one of the column."""
    wins = numpy.zeros((many, many))
    numpy.add.at(wins, (a, b), got)
    numpy.add.at(wins, (b, a), 1 - got)
    return wins


def _fitted(wins: Array) -> Array:
    """[…, many] ratings of [draws, many, many] wins; not a number for one who met nobody."""
    met = (wins + wins.transpose(0, 2, 1)) > 0
    wins = wins + _HALF * met
    games = wins + wins.transpose(0, 2, 1)
    total, strength = wins.sum(-1), numpy.ones(wins.shape[:2])
    played = games.sum(-1) > 0
    with numpy.errstate(divide="ignore", invalid="ignore"):
        for _ in range(_STEPS):
            strength = total / (games / (strength[:, :, None] + strength[:, None, :])).sum(-1)
            strength = numpy.where(played, strength, 1.0)
            logs = numpy.log(strength).sum(-1, keepdims=True) / numpy.maximum(1, played.sum(-1, keepdims=True))
            strength = numpy.where(played, strength / numpy.exp(logs), 1.0)
        strength = numpy.where(played, strength, numpy.nan)
        found: Array = MEAN + SCALE * numpy.log(strength)
    return found


def _finite(number: float) -> float | None:
    return round(float(number), 1) if numpy.isfinite(number) else None
