from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

import pytest

from backend.errors import BadInput, LabError, NotFound
from backend.tables import search
from backend.tables.table import Table

TEXTS = [
    "The wind turbine turns",
    "A turbine without air",
    "Wind and rain",
    None,
    "",
    "100% wind-proof",
    "風力タービン",
    "turbine wind",
]


@pytest.fixture
def table(make: Callable[..., Table]) -> Table:
    chats = [[{"role": "user", "content": f"message {i}"}] for i in range(8)]
    return make(text=TEXTS, chat=chats, number=list(range(8)))


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ("wind", {0, 2, 5, 7}),
        ("WIND turbine", {0, 7}),
        ('"wind turbine"', {0}),
        ("wind OR air", {0, 1, 2, 5, 7}),
        ("turbine -wind", {1}),
        ("nothing", set()),
        ("風力", {6}),
        ("wind)(*:^~ [", {0, 2, 5, 7}),
    ],
)
def test_with_an_index(table: Table, query: str, numbers: set[int]) -> None:
    search.index(table, ["text"])
    assert list(table.folder.glob("index-*"))
    found = search.search(table, query, ["text"])
    assert (set(found["numbers"]), found["total"]) == (numbers, len(numbers))
    assert found["rows"] == [[TEXTS[n], *row[1:]] for n, row in zip(found["numbers"], found["rows"], strict=True)]


@pytest.mark.parametrize(("query", "numbers"), [("wind", [0, 2, 5, 7]), ("0% win", [5]), ("wind turb", [0, 7])])
def test_without_one(table: Table, query: str, numbers: list[int]) -> None:
    found = search.search(table, query, ["text"])
    assert (found["numbers"], found["by"]) == (numbers, "scan")


def test_chats_are_searched_by_what_was_said(table: Table) -> None:
    assert search.search(table, "message 3")["numbers"] == [3]
    search.index(table)
    found = search.search(table, '"message 3"')
    assert (found["numbers"], found["by"]) == ([3], "index")
    assert search.search(table, "role")["total"] == 0


def test_pages_of_hits(make: Callable[..., Table]) -> None:
    table = make(text=[f"word {i}" for i in range(300)])
    search.index(table)
    pages = [search.search(table, "word", offset=o, length=100)["numbers"] for o in (0, 100, 200)]
    assert sorted(itertools.chain(*pages)) == list(range(300))


def test_progress_and_stop(make: Callable[..., Table]) -> None:
    table = make(group=5000, text=["some words"] * 20_000)
    told: list[tuple[float, float]] = []
    search.index(table, say=lambda done, total: told.append((done, total)))
    assert told[-1] == (20_000, 20_000)
    other = make(name="other", group=5000, text=["some words"] * 20_000)
    stop = threading.Event()
    stop.set()
    with pytest.raises(LabError) as caught:
        search.index(other, stop=stop)
    assert caught.value.code == "stopped.owner"
    assert not [*other.folder.glob("index-*"), *other.folder.glob("new-*")]


def test_bad_questions(table: Table) -> None:
    for query, columns, error in [("", None, BadInput), ("x" * 1001, None, BadInput), ("x", ["none"], NotFound)]:
        with pytest.raises(error):
            search.search(table, query, columns)
    with pytest.raises(BadInput):
        search.search(table, "x", offset=10_000)
