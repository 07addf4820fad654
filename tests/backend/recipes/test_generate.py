"""Answers to rows: batched, as a dataset, going on row by row, the same however often it was stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backend import events as ev
from backend.errors import BadInput
from backend.recipes import generate, table
from tests.tiny import tiny_model

ASKED = ["What is up?", None, "Say something", "And now?", "Last one"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ATELIER_HOME", str(tmp_path / "home"))
    file = tmp_path / "asked.jsonl"
    file.write_text("".join(json.dumps({"prompt": one, "n": i}) + "\n" for i, one in enumerate(ASKED)))
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def params(model: Path, rows: Path, **more: Any) -> generate.Params:
    told = {"model": str(model), "dataset": str(rows), "max_new_tokens": 5, "batch_size": 2, "temperature": 1.0}
    return generate.Params(**(told | more))


def written(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / generate.ROWS).read_text().splitlines()]


def said(capsys: pytest.CaptureFixture[str]) -> list[ev.Event]:
    return [ev.parse(line) for line in capsys.readouterr().out.splitlines()]


def test_every_row_keeps_its_place_and_gets_an_answer(
    model: Path, rows: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate.run(params(model, rows), folder)
    made = written(folder)
    assert [row["prompt"] for row in made] == ASKED
    assert [row["answer"] is None for row in made] == [False, True, False, False, False]
    events = said(capsys)
    assert isinstance(events[-1], ev.Finished)
    assert events[-1].values == {"rows": 5}
    far = [(event.done, event.total) for event in events if isinstance(event, ev.Progressed)]
    assert far == [(2, 5), (4, 5), (5, 5)]


def test_stopped_and_cut_off_it_ends_with_the_same_rows(
    model: Path, rows: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    whole = tmp_path / "whole"
    whole.mkdir()
    generate.run(params(model, rows), whole)
    looks = iter([False, True])
    monkeypatch.setattr(table.Wish, "is_set", lambda self: next(looks, False))
    capsys.readouterr()
    generate.run(params(model, rows), folder)
    assert isinstance(said(capsys)[-1], ev.Paused)
    assert len(written(folder)) == 2
    with (folder / generate.ROWS).open("a") as file:
        file.write('{"prompt": "half')  # a batch that was being written when the process was killed
    generate.run(params(model, rows), folder)
    assert written(folder) == written(whole)


def test_what_can_not_be_asked_is_told(model: Path, rows: Path, folder: Path) -> None:
    with pytest.raises(BadInput, match="'n' holds number"):
        generate.run(params(model, rows, column="n"), folder)
    with pytest.raises(BadInput, match="column 'n' already"):
        generate.run(params(model, rows, answer_column="n"), folder)
    with pytest.raises(BadInput, match="No column"):
        generate.preflight(params(model, rows, column=""))
