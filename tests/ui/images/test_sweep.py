"""Two settings tried against one another."""

from __future__ import annotations

import pytest

from backend.errors import BadInput
from ui.images.sweep import MOST, axis, requests, told

ASKED = {"prompt": "a red cat", "steps": 8, "count": 4, "adapters": [{"name": "a", "weight": 1.0}]}


@pytest.mark.parametrize(
    ("name", "text", "values"),
    [
        ("steps", "2, 4,8", (2, 4, 8)),
        ("seed", "1-3, 9", (1, 2, 3, 9)),
        ("guidance", "1, 2.5, .5", (1.0, 2.5, 0.5)),
        ("weight", "-1, 0", (-1.0, 0.0)),
        ("negative_prompt", "none, red", ("", "red")),
        ("scheduler", "ddim, ddim, euler", ("ddim", "euler")),
        ("", "whatever", (None,)),
    ],
)
def test_values_are_read_as_what_the_setting_is(name: str, text: str, values: tuple[object, ...]) -> None:
    assert axis(name, text).values == values


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("steps", "4, few", "'few' is not a whole number"),
        ("steps", "4.5", "not a whole number"),
        ("guidance", "much", "not a number"),
        ("seed", "1-999", "999 values"),
        ("seed", "9-3", "values"),
        ("steps", " , ", "no values"),
        ("nonsense", "1", "can't be tried"),
    ],
)
def test_what_is_wrong_is_named(name: str, text: str, why: str) -> None:
    with pytest.raises(BadInput, match=why):
        axis(name, text)


def test_rows_and_columns_hold_each_pair_once_and_one_picture_each() -> None:
    rows = requests(ASKED, axis("guidance", "1, 2"), axis("seed", "5, 6, 7"))
    assert [[(one["guidance"], one["seed"]) for one in row] for row in rows] == [
        [(1.0, seed), (2.0, seed)] for seed in (5, 6, 7)
    ]
    assert {one["count"] for row in rows for one in row} == {1}
    assert ASKED["count"] == 4


def test_words_and_weights_change_what_they_are_in() -> None:
    ((first, second),) = requests(ASKED, axis("words", "cat, dog"), axis("", ""))
    assert (first["prompt"], second["prompt"]) == ("a red cat", "a red dog")
    ((weighed,),) = requests(ASKED, axis("weight", "0.5"), axis("", ""))
    assert weighed["adapters"] == [{"name": "a", "weight": 0.5}]
    assert ASKED["adapters"] == [{"name": "a", "weight": 1.0}]


def test_what_makes_no_table_is_refused() -> None:
    with pytest.raises(BadInput, match="no 'fish'"):
        requests(ASKED, axis("words", "fish, dog"), axis("", ""))
    with pytest.raises(BadInput, match="no adapter"):
        requests(ASKED | {"adapters": []}, axis("weight", "0, 1"), axis("", ""))
    with pytest.raises(BadInput, match="both sides"):
        requests(ASKED, axis("seed", "1"), axis("seed", "2"))
    with pytest.raises(BadInput, match=f"100 pictures; at most {MOST}"):
        requests(ASKED, axis("seed", "1-10"), axis("steps", "1-10"))


def test_count_and_time_are_told_before() -> None:
    assert told(12, 0) == "12 pictures, how long is known after the first"
    assert told(12, 24.0) == "12 pictures, about 24 s"
