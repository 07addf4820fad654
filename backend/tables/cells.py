"""Values as JSON can carry them: what is too long is shortened and says so.

| value | becomes |
|---|---|
| text longer than the limit | {"shortened": its beginning, "length": characters} |
| nested value longer than the limit | {"shortened": its JSON's beginning, "length": characters} |
| bytes | {"bytes": how many} |
| picture or sound | {"media": "image" or "audio", "path": its name, "bytes": how many} |
| NaN, infinities | "NaN", "Infinity", "-Infinity" |
| whole numbers beyond ±2⁵³, decimals, times, intervals, ids | their text |
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from typing import Any

from backend.tables.table import Column, quoted

TEXT = 2_000  # characters shown of a text
NESTED = 20_000  # characters of JSON up to which a nested value is given whole
EXACT = 1 << 53


def safe(value: Any, limit: int = TEXT) -> Any:
    """Any Python value that DuckDB gives."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if len(value) <= limit else {"shortened": value[:limit], "length": len(value)}
    if isinstance(value, int):
        return value if -EXACT <= value <= EXACT else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else number_name(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return {"bytes": len(value)}
    if isinstance(value, dict):
        return _whole_or_short({str(k): safe(v, NESTED) for k, v in value.items()}, max(limit, NESTED))
    if isinstance(value, list | tuple):
        return _whole_or_short([safe(v, NESTED) for v in value], max(limit, NESTED))
    return str(value)


def number_name(value: float) -> str:
    """NaN and the infinities as JavaScript calls them."""
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _whole_or_short(value: Any, limit: int) -> Any:
    text = json.dumps(value, ensure_ascii=False)
    return value if len(text) <= limit else {"shortened": text[:TEXT], "length": len(text)}


class Reading:
    """What to SELECT for some columns so that no huge cell leaves the database, and how to turn a record into cells."""

    def __init__(self, columns: tuple[Column, ...], text: int = TEXT, nested: int = NESTED) -> None:
        self._text, self._nested = text, nested
        self.select: list[str] = []
        self._take: list[Callable[[Iterator[Any]], Any]] = []
        for column in columns:
            expressions, take = self._column(column)
            self.select += expressions
            self._take.append(take)

    def cells(self, record: tuple[Any, ...]) -> list[Any]:
        values = iter(record)
        return [take(values) for take in self._take]

    def _column(self, column: Column) -> tuple[list[str], Callable[[Iterator[Any]], Any]]:
        name = quoted(column.name)
        if column.kind == "text":
            return [f"left({name}, {self._text})", f"length({name})"], self._shortened
        if column.kind in ("image", "audio"):
            return [f"{name}.path", f"octet_length({name}.bytes)"], lambda values: self._media(column.kind, values)
        if column.kind == "bytes":
            return [f"octet_length({name})"], lambda values: _sized(next(values))
        if column.kind in ("nested", "chat"):
            text = f"CAST(to_json({name}) AS VARCHAR)"
            if column.type == "JSON":
                text = f"CAST({name} AS VARCHAR)"
            return [f"left({text}, {self._nested + 1})", f"length({text})"], self._json
        if column.kind in ("time", "other"):
            return [f"CAST({name} AS VARCHAR)"], lambda values: safe(next(values), self._text)
        return [name], lambda values: safe(next(values))

    def _shortened(self, values: Iterator[Any]) -> Any:
        text, length = next(values), next(values)
        return text if text is None or length <= self._text else {"shortened": text, "length": length}

    def _json(self, values: Iterator[Any]) -> Any:
        text, length = next(values), next(values)
        if text is None or text == "null":
            return None
        if length > self._nested:
            return {"shortened": text[:TEXT], "length": length}
        return safe(json.loads(text), self._nested)

    @staticmethod
    def _media(kind: str, values: Iterator[Any]) -> Any:
        path, size = next(values), next(values)
        return None if path is None and size is None else {"media": kind, "path": path, "bytes": size}


def _sized(size: int | None) -> Any:
    return None if size is None else {"bytes": size}
