from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from backend.errors import BadInput
from backend.tables.export import export
from backend.tables.table import Table

WORDS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "plain", "a,b", 'say "hi"', "שלום", None]


@pytest.fixture
def table(make: Callable[..., Table]) -> Table:
    return make(text=WORDS, number=[-1.5, float("nan"), *range(10)], list=[["=1", None]] * 12)


def test_csv_runs_nowhere(table: Table, tmp_path: Path) -> None:
    told = export(table, "SELECT * FROM data", tmp_path / "o.csv")
    assert (told["rows"], told["truncated"]) == (12, False)
    with (tmp_path / "o.csv").open(newline="", encoding="utf-8") as file:
        head, *lines = csv.reader(file)
    assert head == ["text", "number", "list"]
    for line, word in zip(lines, WORDS, strict=True):
        assert line[0] == (word or "" if word in ("plain", "a,b", 'say "hi"', "שלום", None) else f"'{word}")
    assert lines[0][1:] == ["-1.5", '["=1", null]']


def test_jsonl_and_parquet_hold_the_same(table: Table, tmp_path: Path) -> None:
    export(table, "SELECT * FROM data", tmp_path / "o.jsonl", "jsonl")
    export(table, "SELECT * FROM data", tmp_path / "o.parquet", "parquet")
    lines = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text(encoding="utf-8").splitlines()]
    assert lines[1]["number"] == "NaN"
    kept = pq.read_table(tmp_path / "o.parquet").to_pylist()
    assert [row["text"] for row in kept] == [line["text"] for line in lines] == WORDS


def test_a_cut_result_says_so(table: Table, tmp_path: Path) -> None:
    told = export(table, "SELECT * FROM range(20000)", tmp_path / "o.csv", rows=12_000)
    assert (told["rows"], told["truncated"]) == (12_000, True)
    assert len((tmp_path / "o.csv").read_text().splitlines()) == 12_001


@pytest.mark.parametrize(
    ("query", "format"), [("SELECT * FROM '/etc/passwd'", "csv"), ("COPY data TO 'x'", "csv"), ("SELECT 1", "exe")]
)
def test_refuses_and_leaves_nothing(table: Table, tmp_path: Path, query: str, format: str) -> None:
    with pytest.raises(BadInput):
        export(table, query, tmp_path / "o.csv", format)  # type: ignore[arg-type]
    assert not list(tmp_path.glob("o.csv*"))
