"""Rows that are too long: which, for every method, and what becomes of them."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from backend.errors import BadData
from backend.recipes import METHODS, data, lengths
from backend.recipes.params import check
from tests.tiny import tiny_model

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning", "ignore::DeprecationWarning")
LONG = "word " * 30


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny"))


def asked(recipe: str, tiny: Path, folder: Path, rows: list[Any], **more: Any) -> tuple[Any, Any, data.Loaded]:
    (folder / "d.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    method = METHODS[recipe]
    settings = {"model": str(tiny), "dataset": str(folder / "d.jsonl"), "max_length": 60}
    params = check(method.params, settings | more)
    return import_module(method.module).trainer, params, data.read(params, method.wants)


def chat(answer: str) -> dict[str, Any]:
    return {"prompt": [{"role": "user", "content": "hi"}], "completion": [{"role": "assistant", "content": answer}]}


def choice(chosen: str, rejected: str) -> dict[str, Any]:
    return {"prompt": "hi", "chosen": chosen, "rejected": rejected}


@pytest.mark.parametrize(
    ("recipe", "rows"),
    [
        ("sft", [chat("a"), chat(LONG), chat("b"), chat(LONG)]),
        ("sft", [{"text": one} for one in ("a", LONG, "b", LONG + "c")]),
        ("dpo", [choice("a", "b"), choice(LONG, "b"), choice("c", "d"), choice("a", LONG)]),
        ("orpo", [choice("a", "b"), choice(LONG, "b"), choice("c", "d"), choice("a", LONG)]),
        ("reward", [choice("a", "b"), choice(LONG, "b"), choice("c", "d"), choice("a", LONG)]),
        ("kto", [choice("a", "b"), choice(LONG, "b"), choice("c", "d"), choice("a", LONG)]),
    ],
)
def test_they_are_named_by_row_of_the_file(recipe: str, rows: list[Any], tiny: Path, tmp_path: Path) -> None:
    make, params, loaded = asked(recipe, tiny, tmp_path, rows)
    long = lengths.overlong(make, params, loaded)
    assert long.found(loaded, 60).plain() == {"rule": "longer than 60 tokens", "count": 2, "rows": [2, 4]}
    assert long.known == len(loaded.numbers)
    rest = lengths.without(make, params.model_copy(update={"long_rows": "drop"}), loaded)
    assert set(rest.numbers) >= {1, 3}
    assert lengths.overlong(make, params, rest).places == []


def test_they_stop_what_would_start(tiny: Path, tmp_path: Path) -> None:
    make, params, loaded = asked("sft", tiny, tmp_path, [chat("a"), chat(LONG), chat("b")], long_rows="stop")
    with pytest.raises(BadData, match=r"Row 2 of d.jsonl is longer than 60 tokens.") as caught:
        lengths.without(make, params, loaded)
    assert "long_rows" in caught.value.hint


def test_short_rows_are_not_prepared(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make, params, loaded = asked("sft", tiny, tmp_path, [chat("a"), chat("b")], max_length=256)
    monkeypatch.setattr(lengths, "stand_in", lambda *asked: pytest.fail("no row can be too long"))
    assert lengths.overlong(make, params, loaded) == lengths.Long([], 2)
