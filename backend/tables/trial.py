"""Steps tried on the first rows: `python -m backend.tables.trial`, in a process that is ended after seconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import duckdb

from backend.errors import BadData
from backend.tables import child
from backend.tables.cells import safe


def answer(request: dict[str, Any], say: child.Say) -> dict[str, Any]:
    """{table, others, steps, rows} → {columns, rows, from, to, split}. Raises BadData naming the step."""
    began = _read(request["table"])
    space: dict[str, Any] = {
        "dataset": began,
        "others": {name: _read(question) for name, question in request["others"].items()},
        "Value": str,
        "concatenate_datasets": concatenated,
    }
    for number, code in enumerate(request["steps"], 1):
        try:
            exec(code, space)  # our own lines: every value in them is written by repr()
        except KeyError as error:
            raise BadData(
                f"Step {number}: there is no column {error.args[0]!r}.",
                f"There are {', '.join(space['dataset'].column_names)}.",
            ) from None
        except (TypeError, ValueError, AttributeError, IndexError) as error:
            raise BadData(f"Step {number}: {error}.", "Change or remove it.") from None
    result = space["dataset"]
    split = {name: len(part) for name, part in result.items()} if isinstance(result, dict) else {}
    shown: Trial = result["train"] if isinstance(result, dict) else result
    return {
        "columns": shown.column_names,
        "rows": [[safe(row[name]) for name in shown.column_names] for row in shown.rows[: request["rows"]]],
        "from": len(began),
        "to": sum(split.values()) or len(shown),
        "split": split,
    }


def _read(question: dict[str, Any]) -> Trial:
    config: dict[str, Any] = {"memory_limit": "500MB", "temp_directory": ""}
    records = duckdb.connect(":memory:", config=config).execute(question["sql"]).fetchall()
    return Trial([dict(zip(question["columns"], record, strict=True)) for record in records], question["columns"])


def concatenated(parts: Sequence[Trial]) -> Trial:
    """As `datasets.concatenate_datasets` of tables with the same columns."""
    for part in parts[1:]:
        if set(part.column_names) != set(parts[0].column_names):
            raise ValueError(f"the columns {part.column_names} are not {parts[0].column_names}")
    return Trial([row for part in parts for row in part.rows], parts[0].column_names)


class Trial:
    """The few methods of `datasets.Dataset` that steps use, over a list of rows."""

    def __init__(self, rows: list[dict[str, Any]], column_names: list[str]) -> None:
        self.rows = rows
        self.column_names = column_names

    def __len__(self) -> int:
        return len(self.rows)

    def _has(self, *names: str) -> None:
        for name in names:
            if name not in self.column_names:
                raise KeyError(name)

    def rename_columns(self, columns: dict[str, str]) -> Trial:
        self._has(*columns)
        names = [columns.get(name, name) for name in self.column_names]
        if len(set(names)) < len(names):
            raise ValueError(f"two columns would be called {max(names, key=names.count)!r}")
        return Trial([{columns.get(k, k): v for k, v in row.items()} for row in self.rows], names)

    def remove_columns(self, columns: list[str]) -> Trial:
        self._has(*columns)
        names = [name for name in self.column_names if name not in columns]
        return Trial([{name: row[name] for name in names} for row in self.rows], names)

    def cast_column(self, column: str, to: str) -> Trial:
        self._has(column)
        change = _CASTS[to]
        rows = []
        for number, row in enumerate(self.rows):
            value = row[column]
            try:
                rows.append(row | {column: None if value is None else change(value)})
            except (TypeError, ValueError):
                raise ValueError(f"{str(value)[:60]!r} in row {number} is no {to}") from None
        return Trial(rows, self.column_names)

    def filter(self, test: Callable[[dict[str, Any]], Any]) -> Trial:
        return Trial([row for row in self.rows if test(row)], self.column_names)

    def select(self, numbers: Sequence[int]) -> Trial:
        return Trial([self.rows[i] for i in numbers], self.column_names)

    def shuffle(self, seed: int) -> Trial:
        return self.select(Random(seed).sample(range(len(self)), len(self)))

    def map(self, function: Callable[[dict[str, Any]], dict[str, Any]], remove_columns: list[str]) -> Trial:
        rows = [function(row) for row in self.rows]
        return Trial(rows, list(rows[0]) if rows else [])

    def class_encode_column(self, column: str) -> Trial:
        self._has(column)
        classes = sorted({str(row[column]) for row in self.rows if row[column] is not None})
        places = {name: i for i, name in enumerate(classes)}
        rows = [row | {column: None if row[column] is None else places[str(row[column])]} for row in self.rows]
        return Trial(rows, self.column_names)

    def train_test_split(self, test_size: float, seed: int) -> dict[str, Trial]:
        shuffled = self.shuffle(seed)
        cut = len(self) - max(1, round(len(self) * test_size))
        return {"train": shuffled.select(range(cut)), "test": shuffled.select(range(cut, len(self)))}


def _boolean(value: Any) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false", "1", "0"):
        return value.lower() in ("true", "1")
    if isinstance(value, bool | int):
        return bool(value)
    raise ValueError


def _whole(value: Any) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError
    return int(value)


_CASTS: dict[str, Callable[[Any], Any]] = {"string": str, "int64": _whole, "float64": float, "bool": _boolean}


if __name__ == "__main__":
    child.serve(answer)
