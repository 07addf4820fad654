"""How sure a figure is: intervals, paired tests, and what to say about a difference.

Every metric tells a row as a few numbers whose sums over rows give its value. So drawing rows anew (the bootstrap)
and swapping two models' rows (the permutation test) are matrix products, for BLEU as for a mean.

Methods: Wilson 1927 for a share; Bonett & Price 2012 for the difference of two paired shares, McNemar 1947 exact for
its p-value; else Efron's bootstrap with percentiles widened for small n (Hesterberg 2015, 'expanded percentile') and a
paired permutation test; Holm 1979 where several models are compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy
from numpy.typing import NDArray
from scipy.special import bdtr, ndtr, ndtri, stdtrit

Array = NDArray[Any]
Value = Callable[[Array], Array]  # sums [..., k] → values [...]

LEVEL = 0.95
DRAWS = 2000
MANY = 20_000  # rows; above, 1,000 draws say the same
POWER = 0.8  # chance that the rows said to be needed tell the difference
MOST_NEEDED = 100_000
_CHUNK = 2_000_000  # numbers held at once


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """b − a on the same `n` rows: interval, p-value of 'no difference', rows on which b wins, ties and loses."""

    value: float
    low: float
    high: float
    p: float
    n: int
    wins: int
    ties: int
    losses: int


def normal(share: float) -> float:
    """The standard normal quantile."""
    return float(ndtri(share))


def right_wrong(stats: Array) -> bool:
    """Whether the rows are a share: (0 or 1, 1), or (0, 0) for a row that failed."""
    return stats.shape[1] == 2 and bool(numpy.isin(stats, (0.0, 1.0)).all())


def draws(stats: Sequence[Array], seed: int = 0, many: int = 0) -> list[Array]:
    """Sums over rows drawn anew, the same rows for all of `stats` ([n, k] each): a list of [draws, k]."""
    n = len(stats[0])
    many = many or (DRAWS if n <= MANY else DRAWS // 2)
    together = numpy.concatenate(stats, axis=1).astype(float)
    rng = numpy.random.default_rng(seed)
    parts = []
    for begin in range(0, many, step := max(1, _CHUNK // n)):
        size = min(step, many - begin)
        rows = rng.integers(0, n, (size, n), dtype=numpy.int64) + numpy.arange(size)[:, None] * n
        counts = numpy.bincount(rows.ravel(), minlength=size * n).reshape(size, n)
        parts.append(counts @ together)
    ends = numpy.cumsum([one.shape[1] for one in stats])[:-1]
    return numpy.split(numpy.concatenate(parts), ends, axis=1)


def interval(stats: Array, value: Value, drawn: Array | None = None, seed: int = 0) -> Interval:
    """The value over all rows with its 95 % interval; not a number where there are fewer than 2 rows."""
    point = float(value(stats.sum(0)))
    counted = stats[stats.any(1)]
    if len(counted) < 2:
        return Interval(point, math.nan, math.nan)
    if right_wrong(stats):
        return Interval(point, *wilson(int(counted[:, 0].sum()), len(counted)))
    found = value(draws([stats], seed)[0] if drawn is None else drawn)
    return Interval(point, *percentiles(found, len(counted)))


def wilson(right: int, n: int) -> tuple[float, float]:
    """The interval of a share of `right` in `n`."""
    z = normal(0.5 + LEVEL / 2)
    middle = (right + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(right * (n - right) / n + z * z / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


def percentiles(found: Array, n: int) -> tuple[float, float]:
    """The interval of bootstrap values of `n` rows, a little wider than the plain percentiles for few rows."""
    kept = found[numpy.isfinite(found)]
    if not len(kept):
        return math.nan, math.nan
    tail = float(ndtr(math.sqrt(n / (n - 1)) * stdtrit(n - 1, (1 - LEVEL) / 2)))
    low, high = numpy.quantile(kept, [tail, 1 - tail])
    return float(low), float(high)


def difference(
    a: Array, b: Array, value: Value, higher: bool | None = True, drawn: Sequence[Array] | None = None, seed: int = 0
) -> Difference:
    """b − a on the rows that both have. `drawn` are the two's `draws`, where these are at hand."""
    both: Array = numpy.logical_and(a.any(1), b.any(1))
    if not both.all():
        a, b, drawn = a * both[:, None], b * both[:, None], None
    n = int(both.sum())
    point = float(value(b.sum(0)) - value(a.sum(0)))
    gains = numpy.nan_to_num(value(b[both]) - value(a[both])) * (-1 if higher is False else 1)
    wins, losses = int((gains > 0).sum()), int((gains < 0).sum())
    told = (n, wins, n - wins - losses, losses)
    if n < 2:
        return Difference(point, math.nan, math.nan, math.nan, *told)
    if right_wrong(a) and right_wrong(b):
        better, worse = int(((b - a)[:, 0] > 0).sum()), int(((b - a)[:, 0] < 0).sum())
        return Difference(point, *paired_shares(better, worse, n), mcnemar(better, worse), *told)
    first, second = drawn or draws([a, b], seed)
    return Difference(point, *percentiles(value(second) - value(first), n), permutation(a, b, value, seed), *told)


def paired_shares(better: int, worse: int, n: int) -> tuple[float, float]:
    """The interval of the difference of two shares on the same `n` rows, of which so many changed for better, worse."""
    up, down = (better + 1) / (n + 2), (worse + 1) / (n + 2)
    half = normal(0.5 + LEVEL / 2) * math.sqrt(max(0.0, up + down - (up - down) ** 2) / (n + 2))
    return max(-1.0, up - down - half), min(1.0, up - down + half)


def mcnemar(better: int, worse: int) -> float:
    """The exact p-value of as uneven a split of the rows that changed."""
    changed = better + worse
    return 1.0 if not changed else min(1.0, 2 * float(bdtr(min(better, worse), changed, 0.5)))


def permutation(a: Array, b: Array, value: Value, seed: int = 0) -> float:
    """The p-value of a difference as large when each row's two models are swapped by a coin."""
    n = len(a)
    many = 2 * DRAWS if n <= MANY else DRAWS // 2
    found = abs(float(value(b.sum(0)) - value(a.sum(0))))
    as_large = 0
    for coins in _coins(n, many, seed):
        moved = coins @ (b - a).astype(float)
        shift = value(b.sum(0) - moved) - value(a.sum(0) + moved)
        as_large += int((numpy.abs(shift) >= found - 1e-12).sum())
    return (as_large + 1) / (many + 1)


def _coins(n: int, many: int, seed: int) -> Iterator[Array]:
    rng = numpy.random.default_rng(seed)
    for begin in range(0, many, step := max(1, _CHUNK // n)):
        yield rng.integers(0, 2, (min(step, many - begin), n), dtype=numpy.int8).astype(float)


def holm(values: Sequence[float]) -> list[float]:
    """p-values as they count when this many questions were asked."""
    order = sorted(range(len(values)), key=lambda i: (math.isnan(values[i]), values[i]))
    adjusted, least = list(values), 0.0
    for place, i in enumerate(order):
        if not math.isnan(values[i]):
            adjusted[i] = least = max(least, min(1.0, (len(values) - place) * values[i]))
    return adjusted


def needed(found: Difference) -> int | None:
    """Rows with which a difference of this size would be told four times in five; None when there is no telling."""
    if not math.isfinite(found.low) or found.value == 0:
        return None
    error = (found.high - found.low) / (2 * normal(0.5 + LEVEL / 2))
    rows = found.n * ((normal(0.5 + LEVEL / 2) + normal(POWER)) * error / abs(found.value)) ** 2
    return math.ceil(rows)


Unit = Literal["%", "", "s", "tokens", "tokens/s", "$"]


def verdict(found: Difference, higher: bool | None, unit: Unit = "%", p: float | None = None, digits: int = 1) -> str:
    """`Better, by 12.4 points [8.1, 16.9], n = 150.` or `Can't tell: …; about 400 rows would.`

    `p` is the p-value that counts, when it was corrected; `higher` None is a figure that is neither good nor bad.
    """
    scale, word = (100, " points") if unit == "%" else (1, f" {unit}" if unit else "")
    p = found.p if p is None else p

    def shown(number: float) -> str:
        return f"{number * scale:.{digits}f}".replace("-", "−")

    span = f"[{shown(found.low)}, {shown(found.high)}], n = {found.n:,}"
    if not math.isfinite(p):
        return f"Can't tell from {found.n:,} row{'' if found.n == 1 else 's'}."
    if p < 1 - LEVEL and (found.low > 0 or found.high < 0):
        up = found.value > 0
        names = ("Better", "Worse") if higher is not None else ("More", "Less")
        good = up if higher is not False else not up
        sign = abs(found.value) * scale
        low, high = sorted((abs(found.low), abs(found.high)))
        bounds = f"[{low * scale:.{digits}f}, {high * scale:.{digits}f}], n = {found.n:,}"
        return f"{names[0] if good else names[1]}, by {sign:.{digits}f}{word} {bounds}."
    if found.value == 0 and found.wins == found.losses == 0:
        return f"The same on every row, n = {found.n:,}."
    rows = needed(found)
    more = "" if rows is None or rows <= found.n else f"; about {_round(rows)} rows would"
    more = "; the difference is too small for any number of rows" if rows and rows > MOST_NEEDED else more
    return f"Can't tell: {shown(found.value)}{word} {span}{more}."


def _round(rows: int) -> str:
    """Two digits of it."""
    unit = 10 ** max(0, len(str(rows)) - 2)
    return f"{math.ceil(rows / unit) * unit:,}"
