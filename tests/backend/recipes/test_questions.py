"""Rows of every kind as questions, and what is said of rows that can't be asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backend.errors import BadData
from backend.recipes import questions


def written(folder: Path, *rows: Any) -> str:
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


CHAT = [{"role": "user", "content": "Hi?"}]
SAID = [{"role": "assistant", "content": "Ho."}]


@pytest.mark.parametrize(
    ("row", "prompt", "reference"),
    [
        ({"prompt": "1+1=", "completion": "2"}, "1+1=", "2"),
        ({"prompt": CHAT, "completion": SAID}, CHAT, "Ho."),
        ({"messages": CHAT + SAID}, CHAT, "Ho."),
        ({"text": "Once upon a time"}, "", "Once upon a time"),
        ({"instruction": "Add", "input": "1 1", "output": "2"}, [{"role": "user", "content": "Add\n\n1 1"}], "2"),
        ({"prompt": CHAT, "chosen": SAID, "rejected": [{"role": "assistant", "content": "No."}]}, CHAT, "Ho."),
        ({"prompt": "Say something"}, "Say something", ""),
    ],
)
def test_every_kind(tmp_path: Path, row: dict, prompt: Any, reference: str) -> None:
    found = questions.read(written(tmp_path, row, row), "train").questions
    assert [(one.number, one.prompt, one.reference) for one in found] == [
        (1, prompt, reference),
        (2, prompt, reference),
    ]


@pytest.mark.parametrize("answer", ["blue", 1, "1", "B"])
def test_choices(tmp_path: Path, answer: Any) -> None:
    name = written(tmp_path, {"question": "The sky?", "choices": ["red", "blue"], "answer": answer, "topic": "sky"})
    (one,) = questions.read(name, "train").questions
    assert (one.prompt, one.reference, one.choices, one.more["topic"]) == ("The sky?", "blue", ("red", "blue"), "sky")


def test_rows_that_fail_are_told_and_the_rest_is_asked(tmp_path: Path) -> None:
    good = {"prompt": "a", "completion": "b"}
    asked = questions.read(written(tmp_path, good, {"prompt": "", "completion": "b"}, {"prompt": "a"}, good), "train")
    assert [one.number for one in asked.questions] == [1, 4]
    assert asked.failed == [{"row": 2, "error": "prompt is empty"}, {"row": 3, "error": "completion is missing"}]
    bad = {"question": "x", "choices": ["a", "b"], "answer": "c"}
    with pytest.raises(BadData, match=r'No row of data.jsonl can be asked; row 1: answer is "c"'):
        questions.read(written(tmp_path, bad), "train")


@pytest.mark.parametrize(("label", "reference"), [(3, "3"), (3.0, "3"), (0.5, "0.5"), (True, "True"), ("3", "3")])
def test_labels_may_be_numbers(tmp_path: Path, label: Any, reference: str) -> None:
    (one,) = questions.read(written(tmp_path, {"prompt": "a", "completion": label}), "train").questions
    assert one.reference == reference
    name = written(tmp_path, {"t": "a", "stars": label})
    (one,) = questions.read(name, "train", columns={"prompt": "t", "completion": "stars"}).questions
    assert one.reference == reference


def test_what_is_not_a_number_is_told(tmp_path: Path) -> None:
    rows = [{"prompt": "a", "completion": 1}, {"prompt": "b", "completion": float("nan")}]
    asked = questions.read(written(tmp_path, *rows, {"prompt": float("nan"), "completion": 1}), "train")
    assert [one.number for one in asked.questions] == [1]
    assert [one["error"] for one in asked.failed] == [
        "completion is not a number (NaN); give a text or a number",
        "prompt is not a number (NaN); give a text or a number",
    ]


def test_columns_by_any_name(tmp_path: Path) -> None:
    name = written(tmp_path, {"q": "1+1", "a": "2", "topic": "sum"})
    (one,) = questions.read(name, "train", columns={"prompt": "q", "completion": "a"}).questions
    assert (one.prompt, one.reference, one.more) == ("1+1", "2", {"topic": "sum"})
    with pytest.raises(BadData, match="columns"):
        questions.read(name, "train")


def test_what_is_kept_is_what_was_asked(tmp_path: Path) -> None:
    rows = [{"prompt": CHAT, "completion": SAID, "topic": "a"}, {"prompt": 5, "completion": SAID}]
    asked = questions.read(written(tmp_path, *rows), "train")
    questions.keep(asked, tmp_path)
    assert questions.kept(tmp_path) == asked


def test_slices_are_columns_of_few_values() -> None:
    found = [questions.Question(n, "", more={"topic": "ab"[n % 2], "id": n, "same": 1}) for n in range(8)]
    assert questions.slices(found) == {"topic": ["a", "b"]}


def test_a_sample_and_its_first_rows() -> None:
    found = questions.read("sample/evaluation", "train", 5).questions
    assert len(found) == 5
    assert set(found[0].more) == {"topic"}
    assert found[0].shown.endswith("?")
