"""The statistics keep their word: of 2,000 simulated 95 % intervals, 93 to 97 % hold the truth."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy
import pytest
from scipy.stats import binomtest

from backend.metrics import module, statistics
from backend.metrics.statistics import Difference, Interval

TRIALS = 2000
DRAWS = 500
Rows = numpy.ndarray


def mean(sums: Rows) -> Rows:
    return sums[..., 0] / sums[..., 1]


def of_one(values: Rows) -> Rows:
    return numpy.stack([values, numpy.ones_like(values)], axis=1)


def scores(rng: numpy.random.Generator, n: int) -> Rows:
    """Like token F1: many nothing, many whole, the rest between; their mean is 0.475."""
    which = rng.random(n)
    return of_one(numpy.where(which < 0.3, 0.0, numpy.where(which < 0.55, 1.0, rng.beta(2, 2, n))))


def pooled(rng: numpy.random.Generator, n: int) -> Rows:
    """Like an edit rate: 40 % of rows of different length."""
    below = rng.poisson(8, n) + 1
    return numpy.stack([rng.binomial(below, 0.4), below], axis=1).astype(float)


def right(rng: numpy.random.Generator, n: int) -> Rows:
    return of_one((rng.random(n) < 0.73).astype(float))


@pytest.mark.parametrize(
    ("make", "truth", "n"),
    [(scores, 0.475, 40), (scores, 0.475, 150), (pooled, 0.4, 40), (right, 0.73, 60), (right, 0.73, 208)],
)
def test_an_interval_holds_the_truth(make: Callable[..., Rows], truth: float, n: int) -> None:
    rng, held = numpy.random.default_rng(1), 0
    for trial in range(TRIALS):
        rows = make(rng, n)
        drawn = None if make is right else statistics.draws([rows], trial, DRAWS)[0]
        found = statistics.interval(rows, mean, drawn)
        held += found.low <= truth <= found.high
    assert 0.93 <= held / TRIALS <= 0.97


def test_a_difference_of_scores_holds_the_truth() -> None:
    rng, held, n = numpy.random.default_rng(2), 0, 80
    for trial in range(TRIALS):
        base = scores(rng, n)
        tuned = of_one(numpy.where(rng.random(n) < 0.3, 1.0, base[:, 0]))  # 0.3 × (1 − 0.475) more
        first, second = statistics.draws([base, tuned], trial, DRAWS)
        low, high = statistics.percentiles(mean(second) - mean(first), n)
        held += low <= 0.1575 <= high
    assert 0.93 <= held / TRIALS <= 0.97


@pytest.mark.parametrize(("up", "down", "n"), [(0.2, 0.1, 150), (0.3, 0.3, 60), (0.15, 0.05, 208)])
def test_a_difference_of_shares_holds_the_truth(up: float, down: float, n: int) -> None:
    counts = numpy.random.default_rng(3).multinomial(n, [up, down, 1 - up - down], TRIALS)
    spans = [statistics.paired_shares(int(better), int(worse), n) for better, worse, _ in counts]
    assert 0.93 <= numpy.mean([low <= up - down <= high for low, high in spans]) <= 0.97


def test_where_there_is_no_difference_few_are_found() -> None:
    rng, found, n = numpy.random.default_rng(4), {"scores": 0, "shares": 0}, 60
    for trial in range(400):
        base, other = scores(rng, n), scores(rng, n)
        found["scores"] += statistics.permutation(base, other, mean, trial) < 0.05
    for better, worse, _ in rng.multinomial(n, [0.2, 0.2, 0.6], TRIALS):
        found["shares"] += statistics.mcnemar(int(better), int(worse)) < 0.05
    assert 0.02 <= found["scores"] / 400 <= 0.08
    assert 0.01 <= found["shares"] / TRIALS <= 0.05  # exact, so on the safe side


def test_the_rows_said_to_be_needed_are_enough_four_times_in_five() -> None:
    up, down = 0.14, 0.08
    rng = numpy.random.default_rng(5)
    low, high = statistics.paired_shares(14, 8, 100)
    need = statistics.needed(Difference(0.06, low, high, 0.3, 100, 14, 78, 8))
    assert need is not None
    counts = rng.multinomial(need, [up, down, 1 - up - down], TRIALS)
    told = numpy.mean([statistics.mcnemar(int(better), int(worse)) < 0.05 for better, worse, _ in counts])
    assert 0.72 <= told <= 0.88


def test_mcnemar_is_the_exact_binomial_test() -> None:
    for better, worse in ((0, 0), (1, 0), (5, 1), (10, 10), (3, 12)):
        wanted = binomtest(better, better + worse).pvalue if better + worse else 1.0
        assert statistics.mcnemar(better, worse) == pytest.approx(wanted)


def test_wilson_is_scipys() -> None:
    for good, n in ((0, 10), (10, 10), (7, 12), (152, 208)):
        wanted = binomtest(good, n).proportion_ci(method="wilson")
        assert statistics.wilson(good, n) == pytest.approx((wanted.low, wanted.high))


def test_holm_by_hand() -> None:
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([0.5, math.nan, 0.6]) == pytest.approx([1.0, math.nan, 1.0], nan_ok=True)
    assert statistics.holm([]) == []


def test_a_metric_that_is_no_mean_is_drawn_and_swapped_as_well() -> None:
    one = module("bleu")
    references = [
        f"the {word} sat on the mat today" for word in ("cat", "dog", "bird", "fox", "hen", "cow", "pig", "ant")
    ] * 6
    worse = [text.replace("sat on", "on") for text in references]
    a, b = (one.rows(predictions=texts, references=references) for texts in (worse, references))
    found = statistics.difference(a, b, lambda sums: one.value(sums)["bleu"])
    assert found.value == pytest.approx(100 - float(one.value(a.sum(0))["bleu"]))
    assert found.low <= found.value <= found.high
    assert found.p < 0.01
    assert (found.wins, found.ties, found.losses) == (48, 0, 0)


def test_rows_that_failed_count_for_neither() -> None:
    a, b = of_one(numpy.array([1.0, 0, 0, 1])), of_one(numpy.array([1.0, 1, 1, 0]))
    b[3] = 0
    found = statistics.difference(a, b, mean)
    assert (found.n, found.wins, found.ties, found.losses) == (3, 2, 1, 0)
    assert found.value == pytest.approx(2 / 3)
    assert statistics.interval(b, mean).value == 1.0


def test_less_is_better_turns_wins_around() -> None:
    a, b = of_one(numpy.array([0.5, 0.4, 0.3])), of_one(numpy.array([0.2, 0.4, 0.9]))
    found = statistics.difference(a, b, mean, higher=False)
    assert (found.wins, found.ties, found.losses) == (1, 1, 1)


def test_few_rows_support_no_claim() -> None:
    one = of_one(numpy.array([1.0]))
    assert math.isnan(statistics.interval(one, mean).low)
    found = statistics.difference(one, one * 1, mean)
    assert statistics.verdict(found, True) == "Can't tell from 1 row."
    assert statistics.interval(of_one(numpy.zeros(10)), mean) == Interval(0.0, 0.0, pytest.approx(0.2775, abs=1e-4))


@pytest.mark.parametrize(
    ("found", "higher", "unit", "words"),
    [
        (Difference(0.124, 0.081, 0.169, 0.001, 150, 30, 110, 10), True, "%",
         "Better, by 12.4 points [8.1, 16.9], n = 150."),
        (Difference(-0.2, -0.3, -0.1, 0.001, 90, 2, 60, 28), True, "%", "Worse, by 20.0 points [10.0, 30.0], n = 90."),
        (Difference(-2.5, -3, -2, 0.001, 90, 80, 0, 10), False, "", "Better, by 2.5 [2.0, 3.0], n = 90."),
        (Difference(-2.5, -3, -2, 0.001, 9, 8, 0, 1), None, "tokens", "Less, by 2.5 tokens [2.0, 3.0], n = 9."),
        (Difference(0.05, -0.03, 0.13, 0.3, 150, 20, 118, 12), True, "%",
         "Can't tell: 5.0 points [−3.0, 13.0], n = 150; about 790 rows would."),
        (Difference(0.0, -0.01, 0.01, 1.0, 208, 0, 208, 0), True, "%", "The same on every row, n = 208."),
        (Difference(0.0001, -0.05, 0.05, 0.9, 208, 9, 190, 9), True, "%",
         "Can't tell: 0.0 points [−5.0, 5.0], n = 208; the difference is too small for any number of rows."),
    ],
)  # fmt: skip
def test_verdicts(found: Difference, higher: bool | None, unit: statistics.Unit, words: str) -> None:
    assert statistics.verdict(found, higher, unit) == words


def test_a_corrected_p_value_is_what_counts() -> None:
    found = Difference(0.1, 0.01, 0.19, 0.04, 100, 20, 70, 10)
    assert statistics.verdict(found, True).startswith("Better")
    assert statistics.verdict(found, True, p=0.12).startswith("Can't tell")


def test_many_rows_are_quick() -> None:
    rng = numpy.random.default_rng(0)
    drawn = statistics.draws([of_one(rng.random(100_000))])[0]
    assert drawn.shape == (1000, 2)
