"""Bradley-Terry ratings: a case that has a formula, known strengths found again, and what can't be rated."""

from __future__ import annotations

import math

import numpy
import pytest

from backend.metrics.ratings import MEAN, SCALE, ratings


def test_two_have_a_formula() -> None:
    games = [(0, 1, 1.0)] * 6 + [(1, 0, 1.0)] * 2 + [(0, 1, 0.5)] * 2
    first, second = ratings(games, 2)
    gap = SCALE * math.log((6 + 1 + 0.5) / (2 + 1 + 0.5))  # a tie is half a win each; half a win more each way
    assert first["rating"] - second["rating"] == pytest.approx(gap, abs=0.2)
    assert first["rating"] + second["rating"] == pytest.approx(2 * MEAN, abs=0.2)
    assert (first["wins"], first["ties"], first["losses"], first["n"]) == (6, 2, 2, 10)
    assert first["low"] < first["rating"] < first["high"]


def test_who_never_lost_is_rated_and_who_never_played_is_not() -> None:
    best, worst, nobody = ratings([(0, 1, 1.0)] * 5, 3)
    assert best["rating"] > worst["rating"]
    assert math.isfinite(best["high"])
    assert (nobody["rating"], nobody["low"], nobody["n"]) == (None, None, 0)
    assert [one["rating"] for one in ratings([], 2)] == [None, None]


def test_intervals_cover_what_is_true() -> None:
    """Strengths are drawn into games; the gap of the strongest to the weakest lies in what its ratings allow."""
    true = numpy.array([0.6, 0.0, -0.6]) * SCALE + MEAN
    rng, held = numpy.random.default_rng(0), 0
    for trial in range(60):
        games = []
        for a, b in ((0, 1), (1, 2), (0, 2)) * 50:
            chance = 1 / (1 + math.exp((true[b] - true[a]) / SCALE))
            games.append((a, b, float(rng.random() < chance)))
        found = ratings(games, 3, seed=trial)
        held += sum(one["low"] <= wanted <= one["high"] for one, wanted in zip(found, true, strict=True))
    assert 0.90 <= held / 180 <= 0.99
