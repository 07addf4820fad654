"""Reshaping as recorded steps: what a step does is the `datasets` line that it prints.

A preview runs the very same lines on the first rows with a small stand-in for `datasets.Dataset` (`trial`); the replay
runs them on everything with the real one (`replay`). Both work in processes of their own.
"""

from __future__ import annotations

import json
import math
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from backend.errors import BadInput
from backend.tables import child
from backend.tables.filters import Filter
from backend.tables.table import Table, quoted

LIMITS = child.Limits(seconds=3600, memory=8 << 30, file=16 << 30, nice=5, hint="Take a sample of the rows first.")
TRIAL = child.Limits(seconds=10, memory=2 << 30)
PREVIEW = 200  # rows tried


class Step(BaseModel):
    """One recorded change."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def code(self) -> str:
        """Its lines of Python; they rebind `dataset`."""
        raise NotImplementedError


class Rename(Step):
    do: Literal["rename"] = "rename"
    columns: dict[str, str]

    def code(self) -> str:
        return f"dataset = dataset.rename_columns({self.columns!r})"


class Cast(Step):
    do: Literal["cast"] = "cast"
    column: str
    to: Literal["string", "int64", "float64", "bool"]

    def code(self) -> str:
        return f"dataset = dataset.cast_column({self.column!r}, Value({self.to!r}))"


class Drop(Step):
    do: Literal["drop"] = "drop"
    columns: list[str]

    def code(self) -> str:
        return f"dataset = dataset.remove_columns({self.columns!r})"


class Keep(Step):
    """Only the rows that pass every filter; those of the grid, as data."""

    do: Literal["filter"] = "filter"
    filters: list[Filter]

    def code(self) -> str:
        tests = [_test(f) for f in self.filters if f.column != "_row"]
        lines = []
        if numbers := [set(f.value) for f in self.filters if f.column == "_row"]:
            lines += [f"rows = set({sorted(set.intersection(*numbers))!r})"]
            lines += ["dataset = dataset.select([i for i in range(len(dataset)) if i in rows])"]
        if tests:
            if any(f.op == "matches" for f in self.filters):
                lines.append("import re")
            lines.append(f"dataset = dataset.filter(lambda row: {' and '.join(tests)})")
        return "\n".join(lines)


class Without(Step):
    """All rows but these, by their numbers at this step: duplicates, say."""

    do: Literal["without"] = "without"
    rows: list[int]

    def code(self) -> str:
        return (
            f"rows = set({sorted(self.rows)!r})\n"
            "dataset = dataset.select([i for i in range(len(dataset)) if i not in rows])"
        )


class Shuffle(Step):
    do: Literal["shuffle"] = "shuffle"
    seed: int = 42

    def code(self) -> str:
        return f"dataset = dataset.shuffle(seed={self.seed})"


class Sample(Step):
    """So many rows, drawn by `seed`."""

    do: Literal["sample"] = "sample"
    rows: Annotated[int, Field(ge=1)]
    seed: int = 42

    def code(self) -> str:
        some = f"dataset = dataset.select(range(min({self.rows}, len(dataset))))"
        return f"dataset = dataset.shuffle(seed={self.seed})\n{some}"


class Concatenate(Step):
    """The rows of another dataset below, by the name it was opened as; its columns must be the same."""

    do: Literal["concatenate"] = "concatenate"
    dataset: str

    def code(self) -> str:
        return f"dataset = concatenate_datasets([dataset, others[{self.dataset!r}]])"


class Chat(Step):
    """To `messages`: one exchange a row, under an optional system prompt."""

    do: Literal["chat"] = "chat"
    user: str
    assistant: str
    system: str = ""

    def code(self) -> str:
        first = f'{{"role": "system", "content": {self.system!r}}},\n            ' if self.system else ""
        return f"""def to_chat(row):
    return {{
        "messages": [
            {first}{{"role": "user", "content": row[{self.user!r}]}},
            {{"role": "assistant", "content": row[{self.assistant!r}]}},
        ]
    }}

dataset = dataset.map(to_chat, remove_columns=dataset.column_names)"""


class PromptCompletion(Step):
    """To `prompt` and `completion`."""

    do: Literal["prompt_completion"] = "prompt_completion"
    prompt: str
    completion: str

    def code(self) -> str:
        return _mapped({"prompt": self.prompt, "completion": self.completion})


class Preference(Step):
    """To `prompt`, `chosen` and `rejected`."""

    do: Literal["preference"] = "preference"
    prompt: str
    chosen: str
    rejected: str

    def code(self) -> str:
        return _mapped({"prompt": self.prompt, "chosen": self.chosen, "rejected": self.rejected})


class Label(Step):
    """To `text` and `label`, whose different values become the classes in their order."""

    do: Literal["label"] = "label"
    text: str
    label: str

    def code(self) -> str:
        return _mapped({"text": self.text, "label": self.label}) + '\ndataset = dataset.class_encode_column("label")'


class Split(Step):
    """Into `train` and `test`; the last step."""

    do: Literal["split"] = "split"
    test: Annotated[float, Field(gt=0, lt=1)] = 0.1
    seed: int = 42

    def code(self) -> str:
        return f"dataset = dataset.train_test_split(test_size={self.test!r}, seed={self.seed})"


AnyStep = Annotated[
    Rename
    | Cast
    | Drop
    | Keep
    | Without
    | Shuffle
    | Sample
    | Concatenate
    | Chat
    | PromptCompletion
    | Preference
    | Label
    | Split,
    Field(discriminator="do"),
]
_STEPS: TypeAdapter[list[Any]] = TypeAdapter(list[AnyStep])


def steps(recorded: str | Sequence[Any]) -> list[Step]:
    """Steps from JSON, as `[{"do": "rename", "columns": {…}}, …]`. Raises BadInput naming the first mistake."""
    try:
        found = _STEPS.validate_json(recorded) if isinstance(recorded, str) else _STEPS.validate_python(list(recorded))
    except ValidationError as error:
        first = error.errors()[0]
        where = " → ".join(map(str, first["loc"]))
        raise BadInput(f"Step {where}: {first['msg']}.", "Change this step.") from None
    if any(isinstance(step, Split) for step in found[:-1]):
        raise BadInput("A split is followed by other steps.", "Make the split the last step.")
    return found


def recorded(done: Sequence[Step]) -> str:
    """Steps as JSON."""
    return json.dumps([step.model_dump(mode="json") for step in done], ensure_ascii=False)


def script(table: Table, done: Sequence[Step], others: Sequence[Table] = (), name: str = "shaped") -> str:
    """The plain Python that does the same from the datasets' own sources and saves it as Parquet."""
    needed = {"load_dataset"} | {"Value" for step in done if isinstance(step, Cast)}
    lines = [f"dataset = {table.load}"]
    if joined := _joined(done, others):
        needed |= {"concatenate_datasets"}
        loads = ", ".join(f"{name!r}: {other.load}" for name, other in joined.items())
        lines.append(f"others = {{{loads}}}")
    head = [f"from datasets import {', '.join(sorted(needed))}", ""]
    if any("pandas." in line for line in lines):
        head = ["import pandas", "from datasets import Dataset, " + ", ".join(sorted(needed)), ""]
    body = "\n".join([*head, *lines, *(step.code() for step in done)])
    if done and isinstance(done[-1], Split):
        return f'{body}\nfor split, part in dataset.items():\n    part.to_parquet(f"{name}-{{split}}.parquet")\n'
    return f'{body}\ndataset.to_parquet("{name}.parquet")\n'


def preview(table: Table, done: Sequence[Step], others: Sequence[Table] = (), rows: int = 20) -> dict[str, Any]:
    """{columns, rows: [[cell]], from, to, split}: the steps on the first rows; `from` went in, `to` came out.

    What is drawn by a seed is another draw on the full data. Raises BadData naming the step that can't be done.
    """
    request = {
        "table": _question(table),
        "others": {name: _question(other) for name, other in _joined(done, others).items()},
        "steps": [step.code() for step in done],
        "rows": rows,
    }
    shown: dict[str, Any] = child.run("backend.tables.trial", request, TRIAL)
    return shown


def replay(
    table: Table,
    done: Sequence[Step],
    folder: Path,
    others: Sequence[Table] = (),
    say: child.Say = child.silent,
    stop: threading.Event | None = None,
) -> dict[str, Path]:
    """Run the steps on all rows; gives {split: Parquet file} in `folder`. Raises BadData, NoRoom, `stopped.…`."""
    joined = _joined(done, others)
    for one in (table, *joined.values()):
        if one.remote:
            raise BadInput(f"{one.name} is on the Hub.", "Bring it here first, or run the script.")
    folder.mkdir(parents=True, exist_ok=True)
    request = {
        "files": list(table.files),
        "others": {name: list(other.files) for name, other in joined.items()},
        "steps": [step.code() for step in done],
        "folder": str(folder),
    }
    made: dict[str, str] = child.run("backend.tables.replay", request, LIMITS, say, stop)
    return {split: folder / name for split, name in made.items()}


def _joined(done: Sequence[Step], others: Sequence[Table]) -> dict[str, Table]:
    """The tables that steps name. Raises BadInput for one that was not given."""
    known = {other.name: other for other in others}
    names = [step.dataset for step in done if isinstance(step, Concatenate)]
    for name in names:
        if name not in known:
            raise BadInput(f"The dataset {name[:80]!r} to put below is not open.", "Choose it again.")
    return {name: known[name] for name in names}


def _question(table: Table) -> dict[str, Any]:
    names = [column.name for column in table.columns]
    return {"sql": f"SELECT {', '.join(map(quoted, names))} FROM {table.part(PREVIEW)[0]}", "columns": names}


# -- lines ------------------------------------------------------------------------------------------------------


def _mapped(columns: dict[str, str]) -> str:
    fields = ", ".join(f"{new!r}: row[{old!r}]" for new, old in columns.items())
    return f"dataset = dataset.map(lambda row: {{{fields}}}, remove_columns=dataset.column_names)"


def _test(f: Filter) -> str:
    """The filter as Python over `row`; a missing value passes only `null`."""
    cell = f"row[{f.column!r}]"
    there = f"{cell} is not None and "
    if f.op in ("null", "not null"):
        return f"{cell} is {'not ' if f.op == 'not null' else ''}None"
    if f.op in ("contains", "starts", "matches"):
        words = str(f.value)
        if f.op == "matches":
            return f"{there}re.search({words!r}, str({cell}))"
        if f.op == "starts":
            return f"{there}str({cell}).lower().startswith({words.lower()!r})"
        return f"{there}{words.lower()!r} in str({cell}).lower()"
    if f.op == "in":
        return f"{there}{cell} in {list(f.value)!r}"
    value = f"float({str(f.value)!r})" if isinstance(f.value, float) and not math.isfinite(f.value) else repr(f.value)
    return f"{there}{cell} {'==' if f.op == '=' else f.op} {value}"
