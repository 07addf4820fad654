"""Pages of rows: any hundred of them for a few row groups.

In file order a page is a range of row numbers. Sorted or filtered, the row numbers of the view are worked out once,
from the columns that the question is about alone, and kept; the page then reads its own rows.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from PIL import Image, UnidentifiedImageError

from backend.errors import BadInput, NotFound
from backend.tables.cells import Reading
from backend.tables.filters import Filter, where
from backend.tables.table import ROW, Column, Table, parquet, quoted

if TYPE_CHECKING:
    from backend.tables.table import Rows

LENGTH = 100
COLUMNS = 200  # shown when nobody says which
NEAR = 5_000  # rows from the top that a sorted view finds without sorting all
PIXELS = 64_000_000


@dataclass(frozen=True)
class Sort:
    """By one column; missing values come last either way, ties keep the file's order."""

    column: str
    descending: bool = False


def rows(
    table: Table,
    offset: int = 0,
    length: int = 50,
    sort: Sequence[Sort] = (),
    filters: Sequence[Filter] = (),
    columns: Sequence[str] | None = None,
) -> dict[str, Any]:
    """{columns: [{name, type, kind, names?}], rows: [[cell]], numbers: [row number], total, partial}.

    `total` counts the rows of the view; `partial` says what the table itself lacks. Raises BadInput, NotFound.
    """
    if not 1 <= length <= LENGTH:
        raise BadInput(f"length is {length}; ask for 1 to {LENGTH} rows.", "Ask for the next page after this one.")
    if offset < 0:
        raise BadInput(f"offset is {offset}; it counts from 0.", "Use 0 or more.")
    numbers, total = _numbers(table, offset, length, tuple(sort), tuple(filters))
    picked = table.pick(columns) if columns is not None else table.columns[:COLUMNS]
    hidden = len(table.columns) - len(picked) if columns is None else 0
    note = f"the first {COLUMNS} of {len(table.columns):,} columns" if hidden else ""
    return {
        "columns": [described(column) for column in picked],
        "rows": fetch(table, numbers, picked),
        "numbers": numbers,
        "total": total,
        "partial": "; ".join(filter(None, (table.partial, note))),
    }


def row(table: Table, number: int) -> dict[str, Any]:
    """{name: cell} of one whole row: a million characters of a text, ten million of a nested value."""
    if not 0 <= number < table.rows:
        raise NotFound(f"There is no row {number}; there are {table.rows:,}, from 0.", "Choose one of them.")
    cells = fetch(table, [number], table.columns, Reading(table.columns, 1_000_000, 10_000_000))[0]
    return dict(zip((column.name for column in table.columns), cells, strict=True))


def media(table: Table, number: int, column: str) -> bytes:
    """The bytes of one picture or sound. Raises NotFound when the cell is empty."""
    picked = table.column(column)
    field = f"{quoted(column)}.bytes" if picked.kind in ("image", "audio") else quoted(column)
    if picked.kind not in ("image", "audio", "bytes"):
        raise BadInput(f"{column!r} holds no pictures or sounds, but {picked.type[:60]}.", "Choose another column.")
    found = _read(table, [number], [field]).get(number, (None,))[0] if 0 <= number < table.rows else None
    if found is None:
        raise NotFound(f"Row {number} has nothing in {column!r}.", "Choose another row.")
    return bytes(found)


def thumbnail(table: Table, number: int, column: str, side: int = 128) -> bytes:
    """One picture, at most `side` pixels wide and high, as WebP. Raises NotFound, BadInput."""
    data = media(table, number, column)
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > PIXELS:
                raise BadInput(
                    f"The picture of row {number} has {image.width}×{image.height} pixels; "
                    f"at most {PIXELS // 1_000_000} million are shown.",
                    "Download it to see it.",
                )
            image.draft("RGB", (side, side))
            image.thumbnail((side, side))
            out = io.BytesIO()
            image.convert("RGBA" if "A" in image.getbands() else "RGB").save(out, "WEBP", quality=80)
            return out.getvalue()
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise BadInput(f"The picture of row {number} can't be opened.", "It may be broken in the dataset.") from error


def described(column: Column) -> dict[str, Any]:
    """What a reader needs to know of a column."""
    found = {"name": column.name, "type": column.type, "kind": column.kind}
    return found | {"names": list(column.names)} if column.names else found


def fetch(
    table: Table, numbers: Sequence[int], columns: tuple[Column, ...], reading: Reading | None = None
) -> list[list[Any]]:
    """The cells of these rows in this order."""
    reading = reading or Reading(columns)
    found = _read(table, numbers, reading.select)
    return [reading.cells(found[number]) for number in numbers]


def whole(table: Table, numbers: Sequence[int], columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """The values of these rows as Python has them, nothing shortened, in this order."""
    found = _read(table, numbers, [quoted(name) for name in columns])
    return [found[number] for number in numbers]


def selection(table: Table, sort: tuple[Sort, ...], filters: tuple[Filter, ...]) -> Rows:
    """The row numbers of a view in its order, worked out once."""
    key = (table.files, sort, filters)
    kept = table.database.selections.get(key)
    if kept is None:
        kept = table.database.numbers(_question(table, sort, filters))
        if not sort:
            kept.sort()
        table.database.selections.put(key, kept)
    return kept


def _numbers(
    table: Table, offset: int, length: int, sort: tuple[Sort, ...], filters: tuple[Filter, ...]
) -> tuple[list[int], int]:
    if not sort and not filters:
        return list(range(offset, min(offset + length, table.rows))), table.rows
    total = len(selection(table, (), filters)) if filters else table.rows
    view = (table.files, sort, filters)
    near = (*view, "near")
    some = table.database.selections.get(view)
    if some is None and sort and offset + length <= NEAR:
        some = table.database.selections.get(near)
        if some is None:
            some = table.database.numbers(f"{_question(table, sort, filters)} LIMIT {NEAR}")
            table.database.selections.put(near, some)
    if some is None:
        some = selection(table, sort, filters)
    return [int(number) for number in some[offset : offset + length]], total


def _question(table: Table, sort: tuple[Sort, ...], filters: tuple[Filter, ...]) -> str:
    condition = where(filters, table)
    order = [f"{quoted(table.column(s.column).name)} {'DESC' if s.descending else 'ASC'} NULLS LAST" for s in sort]
    question = f"SELECT {ROW} FROM {table.scan()}" + (f" WHERE {condition}" if condition else "")
    return f"{question} ORDER BY {', '.join([*order, ROW])}" if order else question


def _read(table: Table, numbers: Sequence[int], select: Sequence[str]) -> dict[int, tuple[Any, ...]]:
    """The expressions for each row number, file by file."""
    found: dict[int, tuple[Any, ...]] = {}
    ends = list(accumulate(table.counts))
    for file, count, end in zip(table.files, table.counts, ends, strict=True):
        base = end - count
        local = sorted({number - base for number in numbers if base <= number < end})
        if not local:
            continue
        if local[-1] - local[0] + 1 == len(local):
            which = f"BETWEEN {local[0]} AND {local[-1]}"
        else:
            which = f"IN ({', '.join(map(str, local))})"
        records = table.database.ask(
            f"SELECT file_row_number, {', '.join(select)} FROM {parquet(file)} WHERE file_row_number {which}"
        )
        found |= {base + record[0]: record[1:] for record in records}
    return found
