"""A dataset as HTML: nothing from a dataset is ever markup, and every kind of value can be read."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs

import pytest

from ui import data_views as views

EVIL = '<img src=x onerror="alert(1)">'
VIEW: dict[str, Any] = views.START | {"dataset": "sample/instructions"}


def column(name: str = "a", kind: str = "text", type_: str = "VARCHAR", **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": kind, "type": type_, **more}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", EVIL),
        ("text", {"shortened": EVIL, "length": 9_000}),
        ("chat", [{"role": EVIL, "content": EVIL}, EVIL]),
        ("nested", {EVIL: [EVIL, {"x": EVIL}]}),
        ("image", {"media": EVIL, "path": EVIL, "bytes": 3}),
        ("label", 0),
        ("other", EVIL),
    ],
)
def test_nothing_from_a_dataset_is_markup(kind: str, value: Any) -> None:
    one = column(EVIL, kind, EVIL, names=[EVIL])
    page = {"columns": [one], "rows": [[value]], "numbers": [0], "total": 1, "partial": EVIL, "by": ""}
    figure = {
        "rows": 1,
        "nulls": 1,
        "distinct": 1,
        "min": EVIL,
        "max": EVIL,
        "partial": EVIL,
        "top": [{"value": EVIL, "count": 1}],
    }
    narrowed = VIEW | {
        "filters": [{"column": EVIL, "op": "=", "value": EVIL}],
        "q": EVIL,
        "sort": {"column": EVIL, "descending": True},
    }
    drawn = [
        views.grid(page, narrowed, {EVIL: figure}, {}),
        views.chips(narrowed),
        views.row(0, {EVIL: value}, [one], {}),
        views.result(
            {"columns": [{"name": EVIL, "type": EVIL}], "rows": [[value]], "truncated": False, "seconds": 0.1}
        ),
        views.table([EVIL], [[value]]),
        views.steps([{"do": "rename", "columns": {EVIL: EVIL}}, {"do": "filter", "filters": narrowed["filters"]}]),
        views.facts({"rows": 1, "columns": [], "bytes": 1, "partial": EVIL, "notes": [EVIL]}),
    ]
    assert not any("<img src=x" in html or 'onerror="' in html for html in drawn)


def test_missing_and_empty_are_told_apart_and_long_is_folded() -> None:
    assert "null" in views.cell(None, column())
    assert "empty" in views.cell("", column())
    assert "more characters" in views.cell("x" * 5_000, column())
    assert "8,400 more characters" in views.cell({"shortened": "x" * 2_000, "length": 9_000}, column())
    assert views.cell(False, column(kind="boolean")) == "false"
    assert ">pos<" in views.cell(1, column(kind="label", names=["neg", "pos"]))


def test_bars_and_values_carry_the_filter_that_shows_them() -> None:
    bars = [{"from": 0, "to": 5, "count": 2}, {"from": 5, "to": 10, "count": 1}]
    figure = {"rows": 4, "nulls": 1, "distinct": 3, "min": 0, "max": 10, "partial": "", "histogram": bars}
    drawn = views.above(column("n", "number", "BIGINT"), figure)
    assert drawn.count('data-act="filter"') == 3  # two bars and the missing ones
    assert "&quot;op&quot;: &quot;&lt;=&quot;" in drawn  # the last bar is closed on both sides
    assert "25% null" in drawn
    lengths = views.above(column(), figure | {"of": "characters"})
    assert lengths.count('data-act="filter"') == 1  # no filter says how long a text is


def test_the_address_holds_the_view() -> None:
    view = VIEW | {"q": "a b", "page": 2, "sort": {"column": "n", "descending": True}, "columns": ["n", "a"]}
    asked = parse_qs(views.address(view, '"n" > 3'))
    assert asked == {
        "tab": ["data"], "dataset": ["sample/instructions"], "q": ["a b"], "where": ['"n" > 3'], "sort": ["-n"],
        "p": ["3"], "columns": ['["n", "a"]'],
    }  # fmt: skip
    assert "where" not in views.address(view, "x" * 2_000)


def test_a_part_says_that_it_is_one() -> None:
    told = {"rows": 1200, "columns": [1, 2], "bytes": 14_200, "partial": "", "notes": []}
    assert "1,200 rows · 2 columns · 14.2 kB" in views.facts(told)
    assert "whole" in views.facts(told)
    assert "only the first 5 GB" in views.facts(told | {"partial": "the first 5 GB"})


def test_a_row_can_be_copied_as_markdown() -> None:
    assert views.markdown({"a": "one", "b": {"c": 1}}) == '**a**\n\none\n\n**b**\n\n```\n{\n  "c": 1\n}\n```\n'
