"""Hub datasets, read where they are: from a small local server that speaks the Hub's calls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.errors import BadData, BadInput, Gated, HubError, NotFound
from backend.tables import hub, sql, stats
from backend.tables.pages import rows
from backend.tables.sources import Tables
from backend.tables.table import over
from tests.datahub import CONVERTED, MAIN, OLD, parquet, serving
from tests.localhub import ANN, Hub, here


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving() as found:
        here(monkeypatch, found.url)
        yield found


def test_a_page_costs_a_few_row_groups(server: Hub, tables: Tables) -> None:
    table = tables.open("ann/public")
    assert (table.counts, [c.name for c in table.columns], table.remote) == ((1000, 500), ["id", "text"], True)
    server.sent = 0
    page = rows(table, 995, 10)
    assert [row[0] for row in page["rows"]] == list(range(995, 1005))
    assert (page["total"], page["partial"]) == (1500, "")
    converted = server.repositories["datasets", "ann/public"].commits[CONVERTED]
    whole = sum(len(data) for path, data in converted.items() if "train/" in path)
    assert server.sent < whole / 2
    assert f'load_dataset("ann/public", split="train", revision="{MAIN}")' == table.load


def test_configs_and_splits(server: Hub, tables: Tables) -> None:
    assert hub.listing("ann/public").splits() == {"big": ["train"], "default": ["test", "train"]}
    assert tables.open("ann/public", split="test").rows == 10
    big = tables.open("ann/public", "big")
    assert big.partial == "the first 5 GB, as converted by the Hub"
    with pytest.raises(NotFound, match="no split 'dev'"):
        tables.open("ann/public", split="dev")


@pytest.mark.parametrize(
    ("path", "split"),
    [("data/valid-00000-of-00002.parquet", "validation"), ("dev.jsonl", "validation"), ("eval.csv", "test"),
     ("x/training/a.json", "train"), ("evaluations.csv", "train"), ("other.parquet", "other")],
)  # fmt: skip
def test_splits_are_called_as_datasets_calls_them(path: str, split: str) -> None:
    found = hub.grouped([path], MAIN)
    assert found is not None
    assert found.splits() == {"default": [split]}


def test_without_a_conversion_its_own_files_are_read(server: Hub, tables: Tables) -> None:
    assert (tables.open("ann/own-only").rows, tables.open("ann/own-only", split="test").rows) == (7, 3)
    with pytest.raises(BadData, match="no Parquet, CSV"):
        tables.open("ann/no-parquet")


@pytest.mark.parametrize(("name", "error"), [("ann/private", NotFound), ("ann/gated", Gated), ("ann/absent", NotFound)])
def test_refusals_and_the_visitors_own_sign_in(server: Hub, tables: Tables, name: str, error: type[HubError]) -> None:
    with pytest.raises(error) as caught:
        tables.open(name)
    assert name in str(caught.value)
    if name != "ann/absent":
        table = tables.open(name, token=ANN)
        assert rows(table, 0, 1)["rows"][0][0] == 0
        assert ANN not in repr(table)


def test_a_renamed_one_is_found_by_its_former_name(server: Hub, tables: Tables) -> None:
    table = tables.open("ann/former", split="test")
    assert [row[0] for row in rows(table, 0, 2)["rows"]] == [5000, 5001]
    assert hub.card("ann/former", "", None, 1000) == "# Rows\n\nNumbered *rows*."


def test_a_part_is_brought_near_and_says_so(server: Hub, tables: Tables) -> None:
    table = tables.open("ann/public")
    with pytest.raises(BadInput, match="on the Hub"):
        sql.run(table, "SELECT 1")
    assert stats.column(table, "id")["rows"] == 1500
    files, partial = hub.near(table, lambda done, total: None, most=1)
    near = over(table.name, files, table.folder, tables.database, partial=partial)
    assert (near.rows, near.partial) == (1000, "the first 1,000 of 1,500 rows")
    assert sql.run(near, "SELECT max(id) FROM data")["rows"] == [[999]]
    whole = tables.nearby(table)
    assert (whole.rows, whole.partial) == (1500, "")
    assert rows(whole)["partial"] == ""


def test_a_revision_is_pinned(server: Hub, tables: Tables) -> None:
    table = tables.open("ann/public", revision="v1")
    assert (table.rows, f'revision="{OLD}"' in table.load) == (2, True)
    with pytest.raises(NotFound, match="no revision 'v9'"):
        tables.open("ann/public", revision="v9")


def test_a_private_one_that_the_hub_has_not_converted_is_fetched(server: Hub, tables: Tables) -> None:
    table = tables.open("ann/private-csv", token=ANN)
    assert (rows(table)["rows"], table.remote) == ([[1, "x"], [2, "y"]], False)
    assert sql.run(table, "SELECT sum(a) FROM data")["rows"] == [[3]]
    assert rows(tables.open("ann/private-csv", split="test", token=ANN))["rows"] == [[3, "z"]]
    assert f'load_dataset("ann/private-csv", split="train", revision="{MAIN}")' == table.load


def test_the_cache_is_read_without_the_hub(tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    home = tmp_path / "datasets--ann--kept"
    folder = home / "snapshots" / MAIN
    for name in ("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(parquet(0, 4))
    (folder / "test.jsonl").write_text('{"no": 1}')
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(MAIN)
    table = tables.cached("ann/kept")
    assert table is not None
    assert (table.rows, table.notes) == (8, ("Read from this machine's cache.",))
    assert f'revision="{MAIN}"' in table.load
    assert tables.cached("ann/absent") is None
    with pytest.raises(NotFound, match="no split 'test'"):
        tables.cached("ann/kept", split="test")
