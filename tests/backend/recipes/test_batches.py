from __future__ import annotations

import random

from backend.recipes.batches import ByLength, by_length


def test_every_row_once_and_alike_in_a_batch() -> None:
    chance = random.Random(1)
    lengths = [chance.randint(1, 100) for _ in range(803)]
    order = by_length(lengths, 8, seed=0)
    assert sorted(order) == list(range(803))

    def padded(rows: list[int]) -> int:
        batches = [rows[i : i + 8] for i in range(0, len(rows), 8)]
        return sum(len(batch) * max(lengths[row] for row in batch) for batch in batches)

    assert padded(order) < 1.25 * sum(lengths) < 1.5 * sum(lengths) < padded(list(range(803)))


def test_batches_come_in_any_order() -> None:
    """Not the short ones first: a schedule would treat them apart."""
    lengths = list(range(640))
    firsts = [by_length(lengths, 8, seed)[0] for seed in range(20)]
    assert min(firsts) < 200
    assert max(firsts) > 440


def test_an_epoch_is_found_again_and_another_differs() -> None:
    one, other = ByLength([3, 1, 2] * 20, 4, seed=7), ByLength([3, 1, 2] * 20, 4, seed=7)
    first = list(one)
    assert list(one) == list(other) == first
    assert len(one) == 60
    other.set_epoch(1)
    assert list(other) != first
