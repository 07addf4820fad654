from __future__ import annotations

import math
import operator
import uuid
from collections.abc import Callable
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.errors import BadInput, NotFound
from backend.tables import child, sql
from backend.tables.filters import OPS, Filter, parse, where
from backend.tables.pages import LENGTH, Sort, rows
from backend.tables.sources import Tables
from backend.tables.table import Table, described

WORDS = [
    "",
    "apple",
    "Apple pie",
    "100%",
    "a_b",
    "it's",
    'say "hi"',
    "naïve",
    "שלום",
    "日本語",
    "\\",
    "line\nbreak",
    "null",
]


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory) -> Table:
    home = tmp_path_factory.mktemp("filters")
    columns = {
        "a b": pa.array([1, 2, None], pa.int64()),
        "f": [0.5, math.nan, None],
        "t": ["x", None, "it's"],
        "b": [True, False, None],
    }
    pq.write_table(pa.table(columns), home / "fixed.parquet")
    return Tables(home / "tables").open(str(home / "fixed.parquet"), in_place=True)


numbers = st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=True, allow_infinity=True))
conditions = st.one_of(
    st.builds(Filter, st.just("a b"), st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), st.integers(-(2**62), 2**62)),
    st.builds(Filter, st.just("f"), st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), numbers),
    st.builds(Filter, st.just("t"), st.sampled_from(["=", "!=", "<", ">"]), st.sampled_from(WORDS)),
    st.builds(Filter, st.just("t"), st.sampled_from(["contains", "starts"]), st.text(min_size=1, max_size=8)),
    st.builds(Filter, st.just("t"), st.just("matches"), st.sampled_from(["^a", "b$", "[0-9]+", "it's"])),
    st.builds(Filter, st.just("t"), st.just("in"), st.lists(st.text(max_size=5), min_size=1, max_size=4).map(tuple)),
    st.builds(Filter, st.just("b"), st.just("="), st.booleans()),
    st.builds(Filter, st.sampled_from(["a b", "f", "t", "b", "_row"]), st.sampled_from(["null", "not null"])),
    st.builds(Filter, st.just("_row"), st.just("in"), st.lists(st.integers(0, 9), min_size=1, max_size=4).map(tuple)),
)


@given(filters=st.lists(conditions, max_size=4))
@settings(max_examples=150, deadline=None)
def test_what_is_written_is_read_back(fixed: Table, filters: list[Filter]) -> None:
    if any("\0" in str(f.value) for f in filters):
        return
    text = where(filters, fixed)
    assert repr(parse(text, fixed)) == repr(filters)  # repr, since NaN is not itself


@pytest.mark.parametrize(
    ("text", "filters"),
    [
        ("", []),
        ("3 < f", [Filter("f", ">", 3)]),
        ("f BETWEEN 1 AND 2.5", [Filter("f", ">=", 1), Filter("f", "<=", 2.5)]),
        ("b", [Filter("b", "=", True)]),
        ("NOT b", [Filter("b", "=", False)]),
        ("(t = 'x') AND (f > 1 AND b)", [Filter("t", "=", "x"), Filter("f", ">", 1), Filter("b", "=", True)]),
        ("t LIKE 'x'", None),
        ("t ILIKE '%x_y%'", None),
        ("t = 'x' OR f = 1", None),
        ("length(t) > 3", None),
        ('f = "a b"', None),
        ("f = (SELECT 1)", None),
        ("f = 1 ORDER BY t", None),
        ("f = 1 LIMIT 1", None),
        ("f = 1; DROP TABLE data", None),
        ("f = 1 UNION SELECT * FROM data", None),
        ("t IN (SELECT content FROM read_text('/etc/passwd'))", None),
        ("f = ", None),
        ("t = NULL", None),
    ],
)
def test_reads_what_people_write(fixed: Table, text: str, filters: list[Filter] | None) -> None:
    if filters is None:
        with pytest.raises(BadInput):
            parse(text, fixed)
    else:
        assert parse(text, fixed) == filters


@pytest.mark.parametrize(
    "wrong",
    [
        Filter("a b", "=", "many"),
        Filter("b", "=", 3),
        Filter("a b", "contains", 3),
        Filter("t", "in", ()),
        Filter("t", "=", None),
        Filter("a b", "=", True),
        Filter("t", "around", 1),  # type: ignore[arg-type]
    ],
)
def test_a_value_that_cannot_be_compared(fixed: Table, wrong: Filter) -> None:
    with pytest.raises(BadInput):
        where([wrong], fixed)


def test_an_unknown_column_names_those_there_are(fixed: Table) -> None:
    with pytest.raises(NotFound, match="a b, f, t, b"):
        where([Filter("c", "null")], fixed)


# -- grid, SQL and plain Python agree ----------------------------------------------------------------------------

cells = {
    "n": st.one_of(st.none(), st.integers(-5, 5)),
    "f": st.one_of(st.none(), st.floats(-2, 2, width=16), st.just(math.nan), st.just(math.inf)),
    "t": st.one_of(st.none(), st.sampled_from(WORDS)),
    "b": st.one_of(st.none(), st.booleans()),
}
records = st.lists(st.fixed_dictionaries(cells), min_size=1, max_size=25)
values = {"n": st.integers(-5, 5), "f": st.floats(-2, 2, width=16), "t": st.sampled_from(WORDS), "b": st.booleans()}


@st.composite
def a_filter(draw: Any) -> Filter:
    column = draw(st.sampled_from("nftb"))
    op = draw(
        st.sampled_from([o for o in OPS if o != "matches" and (column == "t" or o not in ("contains", "starts"))])
    )
    if op in ("null", "not null"):
        return Filter(column, op)
    if op == "in":
        return Filter(column, op, tuple(draw(st.lists(values[column], min_size=1, max_size=3))))
    if op in ("contains", "starts"):
        return Filter(column, op, draw(st.sampled_from([w for w in WORDS if w])))
    return Filter(column, op, draw(values[column]))


COMPARE = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def passes(f: Filter, row: dict[str, Any]) -> bool:
    """The filter in plain Python: missing values never match, NaN is the largest number."""
    cell = row[f.column]
    if f.op in ("null", "not null"):
        return (cell is None) == (f.op == "null")
    if cell is None:
        return False
    if f.op == "in":
        return any(cell == value for value in f.value)
    if f.op == "contains":
        return f.value.lower() in cell.lower()
    if f.op == "starts":
        return cell.lower().startswith(f.value.lower())
    return COMPARE[f.op](rank(cell), rank(f.value))


def rank(value: Any) -> Any:
    """What orders: NaN above all numbers, text by code points."""
    if isinstance(value, float):
        return (1, 0.0) if math.isnan(value) else (0, value)
    return value.encode() if isinstance(value, str) else (0, value)


def ordered(found: list[dict[str, Any]], sorts: list[Sort]) -> list[dict[str, Any]]:
    """In plain Python, the last key first: missing values at the end either way, ties as they came."""
    for sort in reversed(sorts):
        there = [row for row in found if row[sort.column] is not None]
        missing = [row for row in found if row[sort.column] is None]
        found = sorted(there, key=lambda row: rank(row[sort.column]), reverse=sort.descending) + missing
    return found


@given(
    table_rows=records,
    filters=st.lists(a_filter(), max_size=3),
    sorts=st.lists(st.builds(Sort, st.sampled_from("nftb"), st.booleans()), max_size=2),
    offset=st.integers(0, 10),
)
@settings(max_examples=60, deadline=None)
def test_grid_and_sql_and_plain_python_agree(
    fixed: Table, table_rows: list[dict[str, Any]], filters: list[Filter], sorts: list[Sort], offset: int
) -> None:
    table = random_table(fixed, table_rows)
    expected = ordered([row for row in table_rows if all(passes(f, row) for f in filters)], sorts)
    page = rows(table, offset, LENGTH, sorts, filters)
    numbered = {id(row): number for number, row in enumerate(table_rows)}
    assert page["total"] == len(expected)
    assert page["numbers"] == [numbered[id(row)] for row in expected[offset : offset + LENGTH]]
    condition = f"WHERE {where(filters, table)} " if filters else ""
    order = [f"{one.column} {'DESC' if one.descending else 'ASC'} NULLS LAST" for one in sorts]
    query = f"SELECT n, f, t, b FROM data {condition}ORDER BY {', '.join([*order, '_row'])} OFFSET {offset}"
    asked = sql.answer(sql.asked(table, query, LENGTH, 10), child.silent)  # here: a process for each would take long
    assert asked["rows"] == page["rows"]
    for number, found in zip(page["numbers"], page["rows"], strict=True):
        for value, shown in zip((table_rows[number][name] for name in "nftb"), found, strict=True):
            assert shown == ("NaN" if value != value else "Infinity" if value == math.inf else value)


def random_table(fixed: Table, table_rows: list[dict[str, Any]]) -> Table:
    """A Table over the rows, opened without a process: one for each example would take long."""
    schema = pa.schema([("n", pa.int64()), ("f", pa.float64()), ("t", pa.string()), ("b", pa.bool_())])
    path = fixed.folder.with_name(f"{uuid.uuid4().hex}.parquet")
    pq.write_table(pa.Table.from_pylist(table_rows, schema), path, row_group_size=4)
    columns = described(fixed.database, str(path), None)
    return Table("random", (str(path),), (len(table_rows),), columns, fixed.folder, fixed.database)


def test_grid_and_sql_and_pandas_agree(make: Callable[..., Table]) -> None:
    columns = {"n": [3, 1, 2, 1, None] * 20, "t": ["b", "a", None, "Ab", "c"] * 20}
    table = make(group=7, **columns)
    frame = pd.DataFrame(columns)
    filters = [Filter("n", ">=", 1), Filter("t", "contains", "b")]
    page = rows(table, 0, 100, [Sort("n"), Sort("t", True)], filters, ["n", "t"])
    asked = sql.run(
        table, f"SELECT n, t FROM data WHERE {where(filters, table)} ORDER BY n NULLS LAST, t DESC NULLS LAST"
    )
    wanted = frame[(frame.n >= 1) & frame.t.str.contains("b", case=False, na=False)]
    wanted = wanted.sort_values(["n", "t"], ascending=[True, False], kind="stable")
    assert page["rows"] == asked["rows"] == wanted.to_numpy().tolist()
    assert page["numbers"] == wanted.index.tolist()
