"""The card's small parts; the whole is in test_outcomes.py."""

from __future__ import annotations

import pytest

from backend.card import public, spark


@pytest.mark.parametrize(
    ("values", "line"), [([0.0, 7.0], "▁█"), ([3.0, 3.0], "▄▄"), ([1.0, 2.0, 3.0, 2.0, 1.0], "▁▅█▅▁"), ([5.0], "▄")]
)
def test_a_curve_in_a_line(values: list[float], line: str) -> None:
    assert spark(values) == line


def test_a_long_curve_is_no_longer() -> None:
    assert len(spark([float(n) for n in range(1000)])) == 24


def test_a_place_on_this_disk_is_told_by_its_name() -> None:
    assert [public(name) for name in ("/home/ann/mine", "owner/model", "upload/1/a.csv")] == [
        "mine",
        "owner/model",
        "upload/1/a.csv",
    ]
