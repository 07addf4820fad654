from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.tables import stats
from backend.tables.filters import Filter
from backend.tables.table import Database, Table


def test_numbers_agree_with_pandas(make: Callable[..., Table]) -> None:

    values = [((7919 * i) % 1009) / 7 for i in range(5000)] + [None] * 7
    found = stats.column(make(group=500, a=values), "a")
    series = pd.Series(values, dtype="float64")
    assert (found["nulls"], found["rows"]) == (7, 5007)
    assert found["mean"] == pytest.approx(series.mean())
    assert found["deviation"] == pytest.approx(series.std())
    assert (found["min"], found["max"]) == (series.min(), series.max())
    assert found["distinct"] == pytest.approx(series.nunique(), rel=0.05)
    edges = [bar["from"] for bar in found["histogram"]] + [found["histogram"][-1]["to"]]
    counted = pd.cut(series, edges, right=False, include_lowest=True).value_counts(sort=False).tolist()
    counted[-1] += int((series == series.max()).sum())
    assert [bar["count"] for bar in found["histogram"]] == counted


numbers = st.lists(st.one_of(st.none(), st.floats(allow_nan=True, width=64)), min_size=1, max_size=60)


@given(values=numbers)
@settings(max_examples=40, deadline=None)
def test_every_finite_number_is_in_one_bar(values: list[float | None], database: Database, folder: Any) -> None:
    path = folder / "numbers.parquet"
    pq.write_table(pa.table({"a": pa.array(values, pa.float64())}), path)
    column = stats.Column("a", "DOUBLE", "number")
    table = Table(f"t{id(values)}", (str(path),), (len(values),), (column,), folder, database)
    database.ask("SET parquet_metadata_cache = false")
    found = stats.column(table, "a")
    finite = [v for v in values if v is not None and math.isfinite(v)]
    bars = found.get("histogram") or found.get("top") or []
    assert sum(bar["count"] for bar in bars) == len(finite)
    assert found["nulls"] == values.count(None)
    assert found["not_finite"] == len(values) - len(finite) - found["nulls"]


@pytest.fixture(scope="module")
def database() -> Any:
    opened = Database()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return tmp_path_factory.mktemp("stats")


def test_few_whole_numbers_are_counted_one_by_one(make: Callable[..., Table]) -> None:
    found = stats.column(make(a=[1, 2, 2, 5, None]), "a")
    assert found["top"] == [{"value": 2, "count": 2}, {"value": 1, "count": 1}, {"value": 5, "count": 1}]


def test_bars_of_whole_numbers_are_whole(make: Callable[..., Table]) -> None:
    found = stats.column(make(a=list(range(100))), "a")
    assert {bar["to"] - bar["from"] for bar in found["histogram"]} == {5.0}
    assert [bar["count"] for bar in found["histogram"]] == [5] * 20


@pytest.mark.parametrize(
    "values", [[2**63 - 1, -(2**63)] * 20 + list(range(40)), [1.7e308, -1.7e308], [5.0], [0.0, -0.0]]
)
def test_extreme_ranges(make: Callable[..., Table], values: list[Any]) -> None:
    found = stats.column(make(a=values), "a")
    assert sum(bar["count"] for bar in found.get("histogram") or found["top"]) == len(values)


def test_text_shows_the_commonest_or_the_lengths(make: Callable[..., Table]) -> None:
    few = stats.column(make(name="few", a=["x", "y", "y", "", None]), "a")
    assert few["top"][0] == {"value": "y", "count": 2}
    assert (few["nulls"], few["empty"], few["max"]) == (1, 1, 1)
    many = stats.column(make(name="many", a=["x" * i for i in range(100)]), "a")
    assert many["of"] == "characters"
    assert sum(bar["count"] for bar in many["histogram"]) == 100


def test_labels_are_named(make: Callable[..., Table]) -> None:
    table = make(a=[0, 1, 1])
    label = stats.Column("a", "BIGINT", "label", ("no", "yes"))
    named = Table("t", table.files, table.counts, (label,), table.folder, table.database)
    assert stats.column(named, "a")["top"][0] == {"value": 1, "name": "yes", "count": 2}
    assert stats.column(named, "a", [Filter("a", "=", "yes")])["rows"] == 2


def test_times_truth_and_nested(make: Callable[..., Table]) -> None:
    day = datetime(2024, 1, 1)
    table = make(t=[day + timedelta(days=i) for i in range(21)], b=[True] * 20 + [None], n=[[1] * i for i in range(21)])
    times = stats.column(table, "t")
    assert (times["min"], times["max"]) == ("2024-01-01 00:00:00", "2024-01-21 00:00:00")
    assert [bar["count"] for bar in times["histogram"]] == [1] * 19 + [2]
    assert stats.column(table, "b")["top"] == [{"value": True, "count": 20}]
    nested = stats.column(table, "n")
    assert (nested["of"], nested["max"], sum(bar["count"] for bar in nested["histogram"])) == ("items", 20, 21)


def test_a_part_says_that_it_is_one(make: Callable[..., Table], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "PART", 10)
    table = make(a=list(range(100)))
    assert stats.column(table, "a")["partial"] == "the first 10 of 100 rows"
    whole = stats.column(table, "a", whole=True)
    assert (whole["partial"], whole["max"]) == ("", 99)
    filtered = stats.column(table, "a", [Filter("a", ">=", 5)])
    assert (filtered["rows"], filtered["min"], filtered["max"]) == (5, 5, 9)
