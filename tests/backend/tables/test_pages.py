from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from backend.errors import BadInput, NotFound
from backend.tables import pages
from backend.tables.filters import Filter
from backend.tables.pages import Sort, row, rows
from backend.tables.table import Table


@pytest.mark.parametrize("wrong", [{"length": 0}, {"length": 101}, {"offset": -1}])
def test_a_page_has_bounds(make: Callable[..., Table], wrong: dict[str, int]) -> None:
    with pytest.raises(BadInput):
        rows(make(a=[1]), **wrong)


def test_past_the_end_is_empty(make: Callable[..., Table]) -> None:
    page = rows(make(a=[1, 2]), 5)
    assert (page["rows"], page["numbers"], page["total"]) == ([], [], 2)


def test_columns_in_the_order_asked(make: Callable[..., Table]) -> None:
    table = make(a=[1], b=["x"], c=[True])
    assert rows(table, columns=["c", "a"])["rows"] == [[True, 1]]
    with pytest.raises(NotFound, match="a, b, c"):
        rows(table, columns=["d"])


def test_cells_of_every_type(make: Callable[..., Table]) -> None:
    media = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    chat = [{"role": "user", "content": "hi"}]
    table = make(
        chat=[chat, None],
        deep=[{"a": [{"b": None}]}, None],
        raw=[b"\0\1", None],
        money=[Decimal("1.10"), None],
        when=[datetime(2024, 2, 29, 12), None],
        far=pa.array([2**40, None], pa.timestamp("s")),
        map=pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
        media=pa.array([{"bytes": b"x", "path": "p"}, None], media),
        big=[2**63 - 1, None],
    )
    kinds = {column.name: column.kind for column in table.columns}
    assert kinds["chat"] == "chat"
    assert (kinds["deep"], kinds["raw"], kinds["when"]) == ("nested", "bytes", "time")
    first, second = rows(table)["rows"]
    found = dict(zip(kinds, first, strict=True))
    assert found.pop("far")  # a year that Python can't count
    assert found == {
        "chat": chat,
        "deep": {"a": [{"b": None}]},
        "raw": {"bytes": 2},
        "money": "1.10",
        "when": "2024-02-29 12:00:00",
        "map": {"k": 1},
        "media": {"bytes": "x", "path": "p"},
        "big": str(2**63 - 1),
    }
    assert second == [None] * len(second)


def test_long_cells_are_shortened_in_a_page_and_whole_in_a_row(make: Callable[..., Table]) -> None:
    text, words = "é" * 50_000, ["word"] * 10_000
    table = make(text=[text], nested=[words])
    shown = rows(table)["rows"][0]
    assert shown[0] == {"shortened": "é" * 2000, "length": 50_000}
    assert shown[1]["length"] == len(json.dumps(words, separators=(",", ":")))
    assert len(shown[1]["shortened"]) == 2000
    assert row(table, 0) == {"text": text, "nested": words}
    with pytest.raises(NotFound, match="There is no row 1; there are 1"):
        row(table, 1)


def test_several_files_are_one_table(make: Callable[..., Table]) -> None:
    first, second = make(name="one", a=[3, 1, 2]), make(name="two", a=[0, None])
    both = Table("both", first.files + second.files, (3, 2), first.columns, first.folder, first.database)
    assert rows(both, 1, 3)["rows"] == [[1], [2], [0]]
    assert rows(both, sort=[Sort("a")])["numbers"] == [3, 1, 2, 0, 4]
    assert rows(both, filters=[Filter("a", "<", 2)])["numbers"] == [1, 3]
    assert rows(both, filters=[Filter("_row", "in", (4, 2))])["numbers"] == [2, 4]


def test_deep_pages_of_a_sorted_view(make: Callable[..., Table], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "NEAR", 10)
    values = [(7919 * i) % 1000 for i in range(1000)]
    table = make(group=50, a=values)
    wanted = sorted(range(1000), key=lambda i: (-values[i], i))
    for offset in (0, 5, 600, 990):
        assert rows(table, offset, 20, [Sort("a", True)])["numbers"] == wanted[offset : offset + 20]


def test_the_selections_kept_have_a_bound(make: Callable[..., Table]) -> None:
    table = make(a=list(range(100)))
    table.database.selections._room = 500
    for i in range(20):
        rows(table, filters=[Filter("a", ">", i)])
    assert sum(kept.nbytes for kept in table.database.selections._kept.values()) <= 500


def test_a_message_tells_no_places(make: Callable[..., Table]) -> None:
    table = make(t=["x"])
    gone = Table("gone", ("/tmp/atelier secret/gone.parquet",), (1,), table.columns, table.folder, table.database)
    with pytest.raises(BadInput) as caught:
        rows(gone)
    assert "secret" not in str(caught.value)
