"""Data by name and for one owner: pages, search with filters, SQL and its Stop, checks, reshaping, the Python."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backend.catalog import Catalog
from backend.data import Data, Source
from backend.data.opened import Opened
from backend.errors import BadInput, Broken, LabError, NotFound
from backend.settings import Settings
from backend.store import Store

ROOT = Path(__file__).resolve().parents[2]
ME, YOU = "visitor-a", "visitor-b"
PEOPLE = [
    {"name": "Ada", "age": 36, "said": "numbers weave patterns"},
    {"name": "Bob", "age": None, "said": "nothing at all"},
    {"name": "Cem", "age": 20, "said": "patterns everywhere"},
    {"name": "Dia", "age": 50, "said": "nothing at all"},
]


@pytest.fixture
def store(home: Path) -> Store:
    return Store(home)


@pytest.fixture
def data(home: Path, store: Store) -> Iterator[Data]:
    settings = Settings.read({"ATELIER_HOME": str(home), "HF_HUB_OFFLINE": "1"})
    opened = Data(settings, Catalog(settings, store), store)
    yield opened
    opened.close()


@pytest.fixture
def people(store: Store, tmp_path: Path) -> Source:
    file = tmp_path / "people.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in PEOPLE))
    return Source(store.upload(ME, file, file.name), ME)


def names(page: dict[str, Any]) -> list[str]:
    return [row[0] for row in page["rows"]]


def test_nothing_is_loaded_before_the_first_dataset() -> None:
    code = "import sys, backend.lab; print(*{'duckdb', 'pyarrow', 'tantivy', 'PIL'} & set(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ""


def test_facts_are_of_the_sample_when_nothing_is_named(data: Data) -> None:
    told = data.facts(Source("", ME))
    assert (told["dataset"], told["rows"], told["partial"]) == ("sample/instructions", 504, "")
    assert [column["kind"] for column in told["columns"]] == ["chat", "chat", "text"]
    assert data.hub.splits(Source("", ME)) == ({}, ("", ""))


def test_an_upload_is_its_owners_alone(data: Data, people: Source) -> None:
    assert data.facts(people)["rows"] == 4
    for ask in (data.facts, data.rows, data.stats, data.sql, data.code):
        with pytest.raises(NotFound, match="of yours"):
            ask(replace(people, owner=YOU))  # although it is open already


def test_pages_sorted_filtered_and_searched_agree(data: Data, people: Source) -> None:
    older = {"column": "age", "op": ">=", "value": 30}
    by_age = {"column": "age", "descending": True}
    assert names(data.rows(people, offset=1, length=2)) == ["Bob", "Cem"]
    assert names(data.rows(people, sort=[by_age])) == ["Dia", "Ada", "Cem", "Bob"]
    assert names(data.rows(people, filters=[older])) == ["Ada", "Dia"]
    assert names(data.rows(people, query="nothing")) == ["Bob", "Dia"]
    assert names(data.rows(people, query="nothing", filters=[older])) == ["Dia"]
    assert names(data.rows(people, query="patterns", sort=[by_age])) == ["Ada", "Cem"]
    assert names(data.rows(people, query="zebra", filters=[older])) == []
    assert data.rows(people, columns=["said", "name"])["columns"][0]["name"] == "said"
    data.index(people)
    assert data.rows(people, query="nothing")["by"] == "index"


def test_filters_are_sql_and_back(data: Data, people: Source) -> None:
    asked = [{"column": "age", "op": ">", "value": 30}, {"column": "name", "op": "null", "value": None}]
    written = data.condition(people, asked)
    assert written == '"age" > 30 AND "name" IS NULL'
    assert data.filters(people, written) == asked
    with pytest.raises(BadInput, match="is not a filter"):
        data.rows(people, filters=[{"column": "age", "op": "or", "value": 1}])
    with pytest.raises(BadInput, match="is not a filter"):
        data.rows(people, filters=[{"column": "age", "op": "=", "value": {"a": 1}}])


def test_figures_and_a_whole_row(data: Data, people: Source) -> None:
    told = data.stats(people, column="age")
    assert (told["nulls"], told["min"], told["max"]) == (1, 20, 50)
    assert data.row(people, 2) == PEOPLE[2]
    with pytest.raises(NotFound, match="no row 9"):
        data.row(people, 9)


def test_sql_answers_stops_and_is_exported(data: Data, people: Source, tmp_path: Path) -> None:
    assert data.sql(people, query="SELECT sum(age) FROM data")["rows"] == [[106]]
    threading.Timer(1, data.stop, ["mine"]).start()
    began = time.monotonic()
    with pytest.raises(LabError, match="Stopped"):
        data.sql(people, query="SELECT count(*) FROM range(1000000000000)", ticket="mine")
    assert time.monotonic() - began < 8
    file = tmp_path / "out.csv"
    assert data.export(people, "SELECT name FROM data WHERE age > 30", file)["rows"] == 2
    assert file.read_text().split() == ["name", "Ada", "Dia"]


def test_checks_name_rows_and_give_their_filter(data: Data, people: Source) -> None:
    found = {one["check"]: one for one in data.check(people, "said", other=people.dataset)}
    assert (found["exact"]["count"], list(found["exact"]["sample"])) == (1, [3])
    assert found["leaks"]["count"] == 4
    assert names(data.rows(people, filters=found["exact"]["filters"])) == ["Dia"]


def test_steps_are_tried_written_down_and_kept(data: Data, people: Source) -> None:
    steps = [{"do": "drop", "columns": ["age"]}, {"do": "split", "test": 0.5}]
    shown = data.shape.preview(people, steps)
    assert (shown["columns"], shown["split"]) == (["name", "said"], {"train": 2, "test": 2})
    assert "remove_columns" in shown["code"]
    made = data.shape.save(people, steps, "small")
    assert [name.rpartition("/")[2] for name in made] == ["small-train.parquet", "small-test.parquet"]
    assert [data.facts(Source(name, ME))["rows"] for name in made] == [2, 2]
    with pytest.raises(BadInput, match="Step"):
        data.shape.preview(people, [{"do": "explode"}])


def test_the_rows_that_are_left_go_along_as_a_dataset(data: Data, people: Source) -> None:
    assert data.carried(people) == people.dataset
    nothing, found = {"column": "said", "op": "contains", "value": "nothing"}, [{"column": "_row", "op": "in"}]
    for filters, query, left in (
        ([nothing], "", ["Bob", "Dia"]), ([], "patterns", ["Ada", "Cem"]),
        ([found[0] | {"value": [1, 2]}], "patterns", ["Cem"]), ([nothing, found[0] | {"value": [3]}], "", ["Dia"]),
    ):  # fmt: skip
        assert sorted(names(data.rows(people, filters=filters, query=query))) == left
        made = data.carried(people, filters, query)
        assert made.endswith("/people-selection.parquet")
        assert names(data.rows(Source(made, ME))) == left


def test_the_python_prints_the_same_rows(data: Data, people: Source) -> None:
    view = {"sort": [{"column": "age"}], "filters": [{"column": "age", "op": ">", "value": 1}], "query": "patterns"}
    code = data.code(people, length=1, **view)
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert told.stdout.strip() == str(PEOPLE[2]), told.stderr[-2000:]


def test_strangers_are_shown_no_path(home: Path, store: Store, people: Source) -> None:
    settings = Settings.read({"ATELIER_HOME": str(home), "SPACE_ID": "a/b"})
    public = Data(settings, Catalog(settings, store), store)
    assert str(home) not in public.code(people)
    public.close()


def test_the_unknown_is_told_as_a_code(data: Data, people: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Opened, "library", lambda self: 1 / 0)
    with pytest.raises(Broken, match=r"error \w{4}"):
        data.facts(people)
