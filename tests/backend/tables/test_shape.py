from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from backend.errors import BadData, BadInput, LabError
from backend.tables import child, shape
from backend.tables.filters import Filter
from backend.tables.sources import Tables
from backend.tables.table import Table

QUESTIONS = ["What is 1+1?", 'Name a "colour"', "It's {odd}", None, "last"]


def at(column: str, op: str, value: Any = None) -> dict[str, Any]:
    return {"column": column, "op": op, "value": value}


STEPS: dict[str, list[dict[str, Any]]] = {
    "rename": [{"do": "rename", "columns": {"q": "question", "a": "answer"}}],
    "cast": [{"do": "cast", "column": "n", "to": "float64"}, {"do": "cast", "column": "s", "to": "int64"}],
    "drop": [{"do": "drop", "columns": ["s", "n"]}],
    "filter": [
        {
            "do": "filter",
            "filters": [{"column": "n", "op": ">=", "value": 1}, {"column": "q", "op": "contains", "value": "IT'S {"}],
        }
    ],
    "filter by row": [{"do": "filter", "filters": [{"column": "_row", "op": "in", "value": [0, 3]}]}],
    "filter by expression": [{"do": "filter", "filters": [{"column": "q", "op": "matches", "value": "[0-9]|colou?r"}]}],
    "filter by words in a chat": [{"do": "filter", "filters": [at("m", "contains", "COLOUR")]}],
    "filter by words in a number": [{"do": "filter", "filters": [at("n", "starts", "1")]}],
    "filter by nothing": [{"do": "filter", "filters": [{"column": "q", "op": "null"}]}],
    "without": [{"do": "without", "rows": [1, 2, 4]}],
    "chat": [{"do": "chat", "user": "q", "assistant": "a", "system": "Be 'brief' {please}"}],
    "prompt and completion": [{"do": "prompt_completion", "prompt": "q", "completion": "a"}],
    "preference": [{"do": "preference", "prompt": "q", "chosen": "a", "rejected": "s"}],
    "label": [{"do": "label", "text": "q", "label": "s"}],
    "concatenate": [{"do": "concatenate", "dataset": "given.jsonl"}],
    "several": [
        {"do": "rename", "columns": {"q": "prompt"}},
        {
            "do": "filter",
            "filters": [{"column": "prompt", "op": "not null"}, {"column": "n", "op": "in", "value": [0, 1, 4]}],
        },
        {"do": "drop", "columns": ["s"]},
    ],
}


@pytest.fixture
def table(tables: Tables, tmp_path: Path) -> Table:
    lines = [
        {"q": q, "a": f"answer {i}", "n": i, "s": str(i % 2), "m": [{"role": "user", "content": q}]}
        for i, q in enumerate(QUESTIONS)
    ]
    path = tmp_path / "given.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tables.open(str(path))


@pytest.mark.parametrize("name", STEPS)
def test_preview_replay_and_script_agree(
    table: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """`datasets` runs here, since a process for each would take long; another test starts the process."""
    import datasets

    for variable in ("HF_HOME", "HF_DATASETS_CACHE", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(variable, str(tmp_path / "cache"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(child, "run", here)
    monkeypatch.chdir(tmp_path)
    done = shape.steps(STEPS[name])
    assert shape.steps(shape.recorded(done)) == done
    shown = shape.preview(table, done, [table], rows=100)
    made = shape.replay(table, done, tmp_path / "out", [table])
    replayed = pq.read_table(made["train"]).to_pylist()
    assert [dict(zip(shown["columns"], row, strict=True)) for row in shown["rows"]] == replayed
    exec(shape.script(table, done, [table]), {})
    assert pq.read_table(tmp_path / "shaped.parquet").to_pylist() == replayed
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["train.parquet"]


def here(module: str, request: dict[str, Any], *_: Any) -> Any:
    """`child.run` without the process."""
    return importlib.import_module(module).answer(json.loads(json.dumps(request)), child.silent)


def test_drawn_steps_replay_the_same_draw(table: Table, tmp_path: Path) -> None:
    done = shape.steps([{"do": "shuffle", "seed": 1}, {"do": "sample", "rows": 4}, {"do": "split", "test": 0.25}])
    first = shape.replay(table, done, tmp_path / "one")
    again = shape.replay(table, done, tmp_path / "two")
    parts = {split: pq.read_table(path).to_pylist() for split, path in first.items()}
    assert {split: len(part) for split, part in parts.items()} == {"train": 3, "test": 1}
    assert {split: pq.read_table(path).to_pylist() for split, path in again.items()} == parts
    shown = shape.preview(table, done)
    assert (shown["from"], shown["to"], shown["split"]) == (5, 4, {"train": 3, "test": 1})


@pytest.mark.parametrize(
    ("recorded", "says"),
    [
        ([{"do": "explode"}], "explode"),
        ([{"do": "cast", "column": "n", "to": "image"}], "to"),
        ([{"do": "sample", "rows": 0}], "rows"),
        ([{"do": "filter", "filters": [{"column": "n", "op": "around", "value": 1}]}], "op"),
        ([{"do": "split"}, {"do": "shuffle"}], "followed by other steps"),
        ("{", "JSON"),
    ],
)
def test_steps_that_are_none(recorded: Any, says: str) -> None:
    with pytest.raises(BadInput) as caught:
        shape.steps(recorded)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ({"do": "drop", "columns": ["none"]}, "there is no column 'none'"),
        ({"do": "rename", "columns": {"a": "q"}}, "two columns would be called 'q'"),
        ({"do": "cast", "column": "a", "to": "int64"}, "'answer 0' in row 0 is no int64"),
        ({"do": "chat", "user": "none", "assistant": "a"}, "there is no column 'none'"),
    ],
)
def test_steps_that_cannot_be_done(table: Table, tmp_path: Path, step: dict[str, Any], says: str) -> None:
    done = shape.steps([{"do": "shuffle"}, step])
    with pytest.raises(BadData, match="Step 2") as caught:
        shape.preview(table, done)
    assert says in caught.value.message or "answer" in caught.value.message
    with pytest.raises(BadData):
        shape.replay(table, done, tmp_path / "out")


@pytest.mark.parametrize(
    "text", ['"] + [__import__("os").system("touch PWNED")] + ["', "'''\nimport os\n", "{row}", "\\"]
)
def test_no_value_becomes_code(table: Table, tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = text.replace("PWNED", str(tmp_path / "pwned"))
    done = shape.steps(
        [
            {"do": "rename", "columns": {"q": text}},
            {"do": "filter", "filters": [{"column": "n", "op": "!=", "value": text}, {"column": text, "op": "null"}]},
            {"do": "chat", "user": text, "assistant": "a", "system": text},
        ]
    )
    shown = shape.preview(table, done)
    assert shown["rows"][0][0][0] == {"role": "system", "content": text}
    assert not (tmp_path / "pwned").exists()


def test_nothing_left_is_told(table: Table, tmp_path: Path) -> None:
    done = shape.steps([shape.Keep(filters=[Filter("n", ">", 100)])])
    assert shape.preview(table, done)["to"] == 0
    with pytest.raises(BadData, match="No rows are left"):
        shape.replay(table, done, tmp_path / "out")


def test_a_slow_expression_is_ended(make: Callable[..., Table], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shape, "TRIAL", child.Limits(seconds=2))
    done = shape.steps([shape.Keep(filters=[Filter("t", "matches", "^(a|aa)+$")])])
    with pytest.raises(LabError) as caught:
        shape.preview(make(t=["a" * 60 + "b"]), done)
    assert caught.value.code == "stopped.time"
