"""Batches of rows that are alike in length, so that little of the work goes into padding."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

_MANY = 4  # batches among which rows are sorted: a fifth of the padding is left, and batches stay mixed


def by_length(lengths: Sequence[int], size: int, seed: int) -> list[int]:
    """An order of all rows in which each `size` of them are alike in length; batches come in random order.

    Rows are shuffled, sorted by length within every so many batches, and the batches shuffled again. The last one,
    which may be short, stays last.
    """
    chance = random.Random(seed)
    order = list(range(len(lengths)))
    chance.shuffle(order)
    batches: list[list[int]] = []
    for start in range(0, len(order), size * _MANY):
        alike = sorted(order[start : start + size * _MANY], key=lambda row: lengths[row])
        batches += [alike[i : i + size] for i in range(0, len(alike), size)]
    short = [batch for batch in batches if len(batch) < size]
    batches = [batch for batch in batches if len(batch) == size]
    chance.shuffle(batches)
    return [row for batch in batches + short for row in batch]


class ByLength:
    """A sampler for a data loader. Each epoch has an order of its own, which a resumed run finds again."""

    def __init__(self, lengths: Sequence[int], size: int, seed: int) -> None:
        self.lengths, self.size, self.seed, self.epoch = lengths, size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        return iter(by_length(self.lengths, self.size, self.seed + self.epoch))

    def __len__(self) -> int:
        return len(self.lengths)


def lengths(rows: Any) -> list[int] | None:
    """Tokens of each row of a dataset that a trainer has tokenized; None where it has not."""
    names = [name for name in rows.column_names if name.endswith("ids")]
    if not names:
        return None
    return [sum(map(len, row)) for row in zip(*(rows[name] for name in names), strict=True)]
