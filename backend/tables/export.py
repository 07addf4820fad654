"""A result as a file: CSV that no spreadsheet runs, JSON lines, Parquet."""

from __future__ import annotations

import csv
import io
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from backend.errors import BadInput
from backend.tables import child, sql
from backend.tables.cells import EXACT, number_name
from backend.tables.table import Table, duckdb_errors

Format = Literal["csv", "jsonl", "parquet"]
Put = Callable[[pa.RecordBatch | None], None]  # None closes
ROWS = 1_000_000
BYTES = 4 << 30
BATCH = 5_000
FORMULA = ("=", "+", "-", "@", "\t", "\r")


def export(
    table: Table,
    query: str,
    path: Path,
    format: Format = "csv",
    rows: int = ROWS,
    seconds: float = 60.0,
    stop: threading.Event | None = None,
) -> dict[str, Any]:
    """Write the result of a statement to `path`, whole or not at all; gives {rows, truncated, seconds}.

    In CSV a text that a spreadsheet would take for a formula begins with an apostrophe. Raises what `sql.run` raises.
    """
    if format not in WRITERS:
        raise BadInput(f"There is no format {format!r} here.", f"Use one of {', '.join(WRITERS)}.")
    request = sql.asked(table, query, rows, seconds) | {"format": format}
    limits = child.Limits(seconds=seconds + 2, memory=sql.LIMITS.memory, file=BYTES)
    new = path.with_name(path.name + ".new")
    try:
        with sql.RUNNING, new.open("wb") as file:
            told: dict[str, Any] = child.run("backend.tables.export", request, limits, stop=stop, output=file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)
    return told


def guarded(value: Any) -> Any:
    """The value as CSV holds it; text that a spreadsheet would run as a formula gets an apostrophe in front."""
    if isinstance(value, dict | list):
        value = json.dumps(plain(value), ensure_ascii=False)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, str) and value.lstrip(" ").startswith(FORMULA):
        return "'" + value
    return value


def plain(value: Any) -> Any:
    """What JSON can hold; NaN, infinities, times and bytes become text, and whole numbers stay exact."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if -EXACT <= value <= EXACT else str(value)
    if isinstance(value, float):
        return value if value - value == 0 else number_name(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return str(value)


def _csv(file: Any, schema: pa.Schema) -> Put:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow([guarded(name) for name in schema.names])

    def put(batch: pa.RecordBatch | None) -> None:
        if batch is None:
            text.flush()
            text.detach()
        else:
            columns = [column.to_pylist() for column in batch.columns]
            writer.writerows([guarded(cell) for cell in row] for row in zip(*columns, strict=True))

    return put


def _jsonl(file: Any, schema: pa.Schema) -> Put:
    def put(batch: pa.RecordBatch | None) -> None:
        for row in batch.to_pylist() if batch is not None else ():
            file.write(json.dumps(plain(row), ensure_ascii=False).encode() + b"\n")

    return put


def _parquet(file: Any, schema: pa.Schema) -> Put:
    writer = pq.ParquetWriter(file, schema, compression="zstd")

    def put(batch: pa.RecordBatch | None) -> None:
        if batch is None:
            writer.close()
        elif batch.num_rows:
            writer.write_batch(batch)

    return put


WRITERS: dict[str, Callable[[Any, pa.Schema], Put]] = {"csv": _csv, "jsonl": _jsonl, "parquet": _parquet}


def answer(request: dict[str, Any], say: child.Say) -> dict[str, Any]:
    """The child's side: at most `rows` rows of the statement into the open file."""
    most, written, truncated = int(request["rows"]), 0, False
    began = time.perf_counter()
    with duckdb_errors(), os.fdopen(request["output"], "wb") as file:
        reader = sql.relation(request)[1].limit(most + 1).to_arrow_reader(BATCH)
        put = WRITERS[request["format"]](file, reader.schema)
        for batch in reader:
            some = batch.slice(0, most - written)
            put(some)
            written += some.num_rows
            if some.num_rows < batch.num_rows:
                truncated = True
                break
        put(None)
    return {"rows": written, "truncated": truncated, "seconds": round(time.perf_counter() - began, 4)}


if __name__ == "__main__":
    child.serve(answer)
