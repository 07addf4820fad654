"""Record batches into one Parquet file that pages read cheaply: small row groups, small pages, readable names."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from backend.errors import BadData
from backend.tables import child
from backend.tables.readers import Given, first_line
from backend.tables.table import RESERVED, features_of

# Rows of a group: few in the first million, so that scattered rows are read cheaply; then they grow with what is
# written, so that even 100 million rows make few groups to look through.
GROUP_ROWS, GROWTH = 8_192, 50
# snappy reads twice as fast as zstd for a half more space; a dictionary only where values repeat
FORM: dict[str, Any] = {"compression": "snappy", "data_page_size": 1 << 16, "dictionary_pagesize_limit": 1 << 16}
GROUP_BYTES = 32 << 20
IN_PLACE_ROWS = 200_000
REPEATED = 0.5  # share of different texts above which a dictionary would not pay
COLUMNS = 10_000


def unique(names: Sequence[str]) -> list[str]:
    """The names with those renamed that are empty, repeated (whatever the case) or ours."""
    taken, found = {name.lower() for name in RESERVED}, []
    for i, name in enumerate(names):
        new = base = name.strip().replace("\0", "") or f"column{i}"
        for n in itertools.count(2):
            if new.lower() not in taken:
                break
            new = f"{base}_{n}"
        taken.add(new.lower())
        found.append(new)
    return found


def write(
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    out: Path,
    given: Given,
    say: child.Say = child.silent,
) -> int:
    """Parquet with small row groups at `out`; gives the number of rows. Raises BadData for none or too many columns."""
    name = given.name
    if len(schema) > COLUMNS:
        raise BadData(
            f"{name!r} has {len(schema):,} columns; at most {COLUMNS:,} are read.", "Drop some, or turn it on its side."
        )
    if not len(schema):
        raise BadData(f"{name!r} has no columns.", "Choose a file with at least one.")
    names = unique(schema.names)
    if names != list(schema.names):
        changed = [f"{old!r} → {new!r}" for old, new in zip(schema.names, names, strict=True) if old != new]
        given.notes.append(f"Columns renamed: {', '.join(changed[:5])}{' …' if len(changed) > 5 else ''}.")
    wanted = pa.schema(
        [pa.field(new, _storable(field.type)) for new, field in zip(names, schema, strict=True)],
        _features(schema.metadata, names),
    )
    rows, new_file = 0, out.with_name(out.name + ".new")
    try:
        with contextlib.ExitStack() as stack:
            writer: pq.ParquetWriter | None = None
            held: list[pa.RecordBatch] = []

            def flush() -> None:
                """Write what is held as one row group; the first says how the texts are written."""
                nonlocal writer
                table = pa.Table.from_batches(held)
                writer = writer or stack.enter_context(pq.ParquetWriter(new_file, wanted, **FORM, **_texts(table)))
                writer.write_table(table, row_group_size=table.num_rows)
                held.clear()

            for batch in batches:
                batch = _fit(batch, wanted)
                while batch.num_rows:
                    most = GROUP_ROWS if rows < 1_000_000 else min(IN_PLACE_ROWS, rows // GROWTH)
                    room = most - sum(b.num_rows for b in held)
                    piece = batch.slice(0, max(1, min(batch.num_rows, room, _rows_in(batch))))
                    batch = batch.slice(piece.num_rows)
                    size = sum(b.nbytes for b in held) + piece.nbytes
                    if held and size > GROUP_BYTES:
                        flush()
                    held.append(piece)
                    rows += piece.num_rows
                    if sum(b.num_rows for b in held) >= most:
                        flush()
                say(rows, 0)
            if held:
                flush()
        if not rows:
            raise BadData(f"{name!r} has no rows.", "Choose a file with at least one.")
        new_file.replace(out)
    except (pa.ArrowException, duckdb.Error, UnicodeError) as error:
        raise BadData(f"{given.name!r} can't be read to its end: {first_line(error)}", "Check the file.") from error
    finally:
        new_file.unlink(missing_ok=True)
    return rows


def _texts(table: pa.Table) -> dict[str, Any]:
    """Texts that don't repeat are written with their lengths apart: a reader then steps over those it doesn't want."""
    lengths = {
        field.name: "DELTA_LENGTH_BYTE_ARRAY"
        for field, column in zip(table.schema, table.columns, strict=True)
        if (pa.types.is_string(field.type) or pa.types.is_large_string(field.type))
        and pc.count_distinct(column).as_py() > REPEATED * len(column)
    }
    if not lengths:
        return {}
    empty = pa.BufferOutputStream()
    pq.write_table(table.schema.empty_table(), empty)
    leaves = pq.ParquetFile(empty.getvalue()).schema  # nested columns are named by the paths of their leaves
    paths = [leaves.column(i).path for i in range(len(leaves))]
    return {"column_encoding": lengths, "use_dictionary": [path for path in paths if path not in lengths]}


def _rows_in(batch: pa.RecordBatch) -> int:
    """How many of its rows fill a row group."""
    return int(GROUP_BYTES // max(1, batch.nbytes // batch.num_rows))


def _fit(batch: pa.RecordBatch, wanted: pa.Schema) -> pa.RecordBatch:
    arrays = [
        column if column.type == f.type else column.cast(f.type)
        for column, f in zip(batch.columns, wanted, strict=True)
    ]
    return pa.record_batch(arrays, schema=wanted)


def _storable(type_: pa.DataType) -> pa.DataType:
    """Types that Parquet, DuckDB and `datasets` all know."""
    if isinstance(type_, pa.BaseExtensionType):
        return _storable(type_.storage_type)
    if pa.types.is_dictionary(type_):
        return _storable(type_.value_type)
    if pa.types.is_null(type_) or pa.types.is_string_view(type_):
        return pa.string()
    return type_


def _features(metadata: dict[bytes, bytes] | None, names: list[str]) -> dict[bytes, bytes]:
    """What `datasets` wrote about the columns, of those still there."""
    kept = {name: feature for name, feature in features_of(metadata).items() if name in names}
    return {b"huggingface": json.dumps({"info": {"features": kept}}).encode()} if kept else {}


def in_place(path: Path) -> bool:
    """Whether a Parquet file can be read as it is: readable names and types, row groups that a page can afford."""
    file = pq.ParquetFile(path)
    schema, groups = file.schema_arrow, [file.metadata.row_group(i) for i in range(file.num_row_groups)]
    return (
        0 < len(schema) <= COLUMNS
        and unique(schema.names) == list(schema.names)
        and all(_storable(f.type) == f.type for f in schema)
        and file.metadata.num_rows > 0
        and all(group.num_rows <= IN_PLACE_ROWS and group.total_byte_size <= 8 * GROUP_BYTES for group in groups)
    )
