"""Rows of a dataset as questions to a model: what is asked, what should come, and what else the row says of itself."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from backend.errors import BadData
from backend.recipes import shapes
from backend.recipes.reading import Row, Wrong, is_local, rows_of, short_name

Text = str | list[dict[str, str]]  # plain, or messages
__all__ = ["Asked", "Question", "Text", "is_local", "keep", "kept", "read", "slices", "some"]
KINDS: tuple[shapes.Kind, ...] = ("prompt-completion", "preference", "language modelling", "unpaired", "prompt-only")
FILE = "questions.jsonl"  # in the run's folder, so that what was asked stays known
MOST_SLICES = 20  # values of a column by which rows are told apart
_LOOK = 20  # rows that tell the form
_SAID = ("completion", "reference", "output", "chosen", "rejected")  # roles of answers, which may be numbers


@dataclass(frozen=True)
class Question:
    """Row `number` (from 1). `reference` is '' where there is none; `more` are the row's other plain columns."""

    number: int
    prompt: Text
    reference: str = ""
    rejected: str = ""
    choices: tuple[str, ...] = ()
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """The prompt as a person reads it."""
        if isinstance(self.prompt, str):
            return self.prompt
        if len(self.prompt) == 1:
            return self.prompt[0]["content"]
        return "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in self.prompt)


@dataclass(frozen=True)
class Asked:
    """All questions, and the rows that can't be asked: {row, error}."""

    questions: list[Question]
    failed: list[dict[str, Any]]


def read(name: str, split: str, max_rows: int = 0, columns: Mapping[str, str] | None = None) -> Asked:
    """Raises BadData where nothing can be asked, NotFound, Gated, HubError."""
    rows = itertools.islice(rows_of(name, split), max_rows or None)
    first = list(itertools.islice(rows, _LOOK))
    if not first:
        raise BadData(f"{short_name(name)} has no rows.", "Evaluation needs at least 1.", "data.empty")
    good = [row for row in first if not isinstance(row, Wrong)]
    shape = None if all("choices" in row for row in good) and good else _shape([*map(_plain, good)], name, columns)
    asked = Asked([], [])
    for number, row in enumerate(itertools.chain(first, rows), 1):
        try:
            if isinstance(row, Wrong):
                raise row
            asked.questions.append(_question(number, _told(row, columns or {}), shape, columns or {}))
        except Wrong as wrong:
            asked.failed.append({"row": number, "error": wrong.said.lstrip(": ")})
    if not asked.questions:
        raise BadData(
            f"No row of {short_name(name)} can be asked; row 1: {asked.failed[0]['error']}.",
            "Correct the data, or say which columns hold prompt and completion.",
            "data.row",
        )
    return asked


def _told(row: Row, columns: Mapping[str, str]) -> Row:
    """A row whose labels may be numbers, as text. Raises Wrong for what is not a number."""
    for role in ("prompt", *_SAID):
        value = row.get(columns.get(role, role))
        if isinstance(value, float) and not math.isfinite(value):
            column = columns.get(role, role)
            raise Wrong(f"{column} is not a number (NaN); give a text or a number", f"{column} is NaN")
    said = {columns.get(role, role) for role in _SAID}
    return {key: _label(value) if key in said else value for key, value in row.items()}


def _plain(row: Row) -> Row:
    """The same of a row that only shows the form."""
    return {key: _label(value) for key, value in row.items()}


def _label(value: Any) -> Any:
    """3, 3.0 and True as text; tables that have gaps make 3.0 of 3."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int | float) else value


def _shape(good: list[Row], name: str, columns: Mapping[str, str] | None) -> shapes.Shape:
    return shapes.recognise(good or [{}], name, KINDS, columns)


def _question(number: int, row: Row, shape: shapes.Shape | None, columns: Mapping[str, str]) -> Question:
    more = {key: value for key, value in row.items() if isinstance(value, str | int | float | bool)}
    if shape is None:
        return _multiple_choice(number, row, more, columns)
    made = shape.convert(row)[0]
    return of(number, made, {key: more[key] for key in more if key not in made and key not in columns.values()})


def of(number: int, made: Row, more: dict[str, Any]) -> Question:
    """A row in TRL's form as a question."""
    if "text" in made:
        return Question(number, "", made["text"], more=more)
    if "messages" in made:
        last = max((i for i, turn in enumerate(made["messages"]) if turn["role"] == "assistant"), default=0)
        return Question(number, made["messages"][:last], made["messages"][last]["content"], more=more)
    answer = made.get("completion", made.get("chosen", made.get("reference", "")))
    return Question(number, made["prompt"], _said(answer), _said(made.get("rejected", "")), more=more)


def _said(answer: Any) -> str:
    return answer if isinstance(answer, str) else str(answer[-1]["content"])


def _multiple_choice(number: int, row: Row, more: dict[str, Any], columns: Mapping[str, str]) -> Question:
    """`choices` is a list of texts; the answer is one of them, its number from 0, or its letter."""
    prompt = next(
        (row[key] for key in (columns.get("prompt", "prompt"), "question", "query", "instruction") if row.get(key)),
        None,
    )
    choices, answer = row["choices"], next((row[k] for k in ("answer", "label", "completion") if k in row), None)
    if isinstance(choices, dict):
        choices = choices.get("text")  # as ARC has them
    if not isinstance(prompt, str | list) or not prompt:
        raise Wrong("prompt is missing", "prompt is missing")
    if not isinstance(choices, list) or len(choices) < 2 or not all(isinstance(one, str) for one in choices):
        raise Wrong("choices is not a list of at least 2 texts", "choices is not a list of texts")
    if isinstance(answer, str) and answer in choices:
        place = choices.index(answer)
    elif isinstance(answer, str) and len(answer) == 1 and answer.isalpha():
        place = ord(answer.upper()) - ord("A")
    else:
        place = int(str(answer)) if str(answer).isdigit() else -1
    if not 0 <= place < len(choices):
        raise Wrong(f"answer is {json.dumps(answer)}; it must be one of the choices", "answer is none of the choices")
    more = {key: value for key, value in more.items() if value is not prompt}
    return Question(number, prompt, choices[place], choices=tuple(choices), more=more)


def some(asked: Asked, most: int, seed: int, drawn: bool) -> Asked:
    """At most so many of the questions, 0 being all: the first, or drawn by `seed` and in their own order."""
    if not most or len(asked.questions) <= most:
        return asked
    kept = asked.questions[:most]
    if drawn:
        kept = sorted(random.Random(seed).sample(asked.questions, most), key=lambda one: one.number)
    return Asked(kept, asked.failed)


def slices(questions: list[Question]) -> dict[str, list[Any]]:
    """Columns by which the rows can be told apart, each with its 2 to MOST_SLICES values."""
    found: dict[str, list[Any]] = {}
    for column in dict.fromkeys(key for one in questions for key in one.more):
        values = list(dict.fromkeys(one.more.get(column) for one in questions))
        if 2 <= len(values) <= min(MOST_SLICES, len(questions) // 2):
            found[column] = values
    return found


def keep(asked: Asked, folder: Path) -> None:
    """Write the questions down."""
    lines = [json.dumps(asdict(one), ensure_ascii=False) for one in asked.questions]
    lines += [json.dumps(one, ensure_ascii=False) for one in asked.failed]
    (folder / FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def kept(folder: Path) -> Asked:
    """The questions that were written down."""
    asked = Asked([], [])
    for row in _lines(folder / FILE):
        if "error" in row:
            asked.failed.append(row)
        else:
            asked.questions.append(Question(**row | {"choices": tuple(row["choices"])}))
    return asked


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        yield from (json.loads(line) for line in file if line.strip())
