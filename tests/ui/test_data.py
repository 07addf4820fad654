"""A dataset as HTML: nothing from a dataset is ever markup, and every kind of value can be read."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from backend.errors import BadInput
from ui.data import cells, grid, picking, row, sql, told, view

EVIL = '<img src=x onerror="alert(1)">'
VIEW: dict[str, Any] = view.START | {"dataset": "sample/instructions"}


HUB = {
    "name": EVIL, "downloads": 1, "likes": 1, "updated": EVIL, "gated": True, "private": True,
    "tags": [f"license:{EVIL}"],
}  # fmt: skip
PAIR = {
    "row": 1, "prompt": EVIL, "left": EVIL, "right": EVIL, "turned": True, "chosen": 1, "skipped": 0, "total": 3
}  # fmt: skip


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
        "sort": [{"column": EVIL, "descending": True}],
    }
    drawn = [
        told.repositories([HUB]),
        told.pair(PAIR),
        grid.figure(figure | {"column": EVIL, "kind": "number", "histogram": [{"from": 0, "to": 1, "count": 1}]}),
        sql.completions([EVIL]),
        grid.grid(page, narrowed, {EVIL: figure}, {}),
        grid.chips(narrowed),
        row.row(0, {EVIL: value}, [one], {}),
        told.result({"columns": [{"name": EVIL, "type": EVIL}], "rows": [[value]], "truncated": False, "seconds": 0.1}),
        told.table([EVIL], [[value]]),
        told.steps([{"do": "rename", "columns": {EVIL: EVIL}}, {"do": "filter", "filters": narrowed["filters"]}]),
        grid.facts({"rows": 1, "columns": [], "bytes": 1, "partial": EVIL, "notes": [EVIL]}),
    ]
    assert not any("<img src=x" in html or 'onerror="' in html for html in drawn)


def test_missing_and_empty_are_told_apart_and_long_is_folded() -> None:
    assert "null" in cells.cell(None, column())
    assert "empty" in cells.cell("", column())
    assert "more characters" in cells.cell("x" * 5_000, column())
    assert "8,400 more characters" in cells.cell({"shortened": "x" * 2_000, "length": 9_000}, column())
    assert cells.cell(False, column(kind="boolean")) == "false"
    assert ">pos<" in cells.cell(1, column(kind="label", names=["neg", "pos"]))


def test_bars_and_values_carry_the_filter_that_shows_them() -> None:
    bars = [{"from": 0, "to": 5, "count": 2}, {"from": 5, "to": 10, "count": 1}]
    figure = {"rows": 4, "nulls": 1, "distinct": 3, "min": 0, "max": 10, "partial": "", "histogram": bars}
    drawn = grid.above(column("n", "number", "BIGINT"), figure)
    assert drawn.count('data-act="filter"') == 3  # two bars and the missing ones
    assert "&quot;op&quot;: &quot;&lt;=&quot;" in drawn  # the last bar is closed on both sides
    assert "25% null" in drawn
    lengths = grid.above(column(), figure | {"of": "characters"})
    assert lengths.count('data-act="filter"') == 1  # no filter says how long a text is


def test_the_address_holds_the_view_and_gives_it_back() -> None:
    sort = [{"column": "n", "descending": True}, {"column": "a", "descending": False}]
    shown = VIEW | {
        "revision": "v1", "q": "a b", "within": ["a"], "page": 2, "sort": sort, "columns": ["n", "a"]
    }  # fmt: skip
    query = {key: values[0] for key, values in parse_qs(view.address(shown, '"n" > 3')).items()}
    assert query == {
        "tab": "data", "dataset": "sample/instructions", "revision": "v1", "q": "a b", "where": '"n" > 3',
        "sort": "-n,a", "p": "3", "columns": '["n", "a"]', "within": '["a"]',
    }  # fmt: skip
    assert view.asked(query) == shown
    odd = VIEW | {"sort": [{"column": "a,b", "descending": True}]}
    assert view.asked({"sort": parse_qs(view.address(odd, ""))["sort"][0]})["sort"] == odd["sort"]
    assert "where" not in view.address(shown, "x" * 2_000)


def test_a_name_sorts_up_then_down_then_not_and_more_keeps_the_others() -> None:
    press = {"act": "sort", "column": "n"}
    up = view.acted(VIEW, press)
    assert up is not None
    both = view.acted(up, {"act": "sort", "column": "a", "more": "1"})
    assert both is not None
    assert [view.signed(one) for one in both["sort"]] == ["n", "a"]
    turned = view.acted(both, press | {"more": "1"})
    assert turned is not None
    assert [view.signed(one) for one in turned["sort"]] == ["-n", "a"]
    alone = view.acted(turned, {"act": "sort", "column": "a"})
    assert alone is not None
    assert [view.signed(one) for one in alone["sort"]] == ["-a"]
    none = view.acted(alone, {"act": "sort", "column": "a"})
    assert none is not None
    assert none["sort"] == []


def test_the_mean_is_where_it_is() -> None:
    bars = [{"from": 0, "to": 5, "count": 2}, {"from": 5, "to": 10, "count": 1}]
    figure = {"rows": 3, "min": 0, "max": 10, "mean": 2.5, "partial": "", "histogram": bars}
    drawn = grid.above(column("n", "number", "BIGINT"), figure)
    assert "left:25.0%" in drawn
    assert "mean 2.5" in drawn


def test_a_result_is_a_chart_when_it_has_a_number() -> None:
    names = [{"name": "k", "type": "VARCHAR"}, {"name": "n", "type": "BIGINT"}]
    found = {"columns": names, "rows": [["a", 1], [None, 2], ["c", None]], "truncated": False, "seconds": 0.1}
    _, x, y, bars, line, _ = sql.charted(found, "Bars", "", "")
    assert (x["value"], y["value"], bars["visible"], line["visible"]) == ("k", "n", True, False)
    assert bars["value"].to_dict("list") == {"k": ["a", "null"], "n": [1, 2]}
    words, *_, points = sql.charted(found | {"rows": [["a", None]]}, "Points", "", "")
    assert "needs a column of numbers" in words
    assert points["visible"] is False


def test_the_files_of_a_folder_stay_where_they_lie(tmp_path: Path) -> None:
    paths = [tmp_path / key / "x.wav" for key in ("1", "2")]
    for path in paths:
        path.parent.mkdir()
        path.write_text(path.parent.name)
    with zipfile.ZipFile(picking.one_file(paths, tmp_path, '["all/a/x.wav", "all/b/x.wav"]')) as packed:
        assert {name: packed.read(name) for name in packed.namelist()} == {"all/a/x.wav": b"1", "all/b/x.wav": b"2"}
    assert picking.one_file(paths[:1], tmp_path, '["all/x.wav"]') == paths[0]
    for places in ("", '["one"]', "7", '["a/x.wav", "a/x.wav"]'):
        with pytest.raises(BadInput, match=r"Two of the files are called '.*x.wav'"):
            picking.one_file(paths, tmp_path, places)


def test_a_cut_result_tells_how_many_rows_there_are() -> None:
    found = {"columns": [], "rows": [[]] * 200, "truncated": True, "seconds": 0.1}
    assert ">1,240 rows · 0.10 s · the first 200 are shown<" in told.result(found | {"total": 1240})
    assert ">200 rows and more; cut here · 0.10 s<" in told.result(found)


def test_a_part_says_that_it_is_one() -> None:
    told = {"rows": 1200, "columns": [1, 2], "bytes": 14_200, "partial": "", "notes": []}
    assert "1,200 rows · 2 columns · 14.2 kB" in grid.facts(told)
    assert "whole" in grid.facts(told)
    assert "only the first 5 GB" in grid.facts(told | {"partial": "the first 5 GB"})


def test_a_row_can_be_copied_as_markdown() -> None:
    assert row.markdown({"a": "one", "b": {"c": 1}}) == '**a**\n\none\n\n**b**\n\n```\n{\n  "c": 1\n}\n```\n'
