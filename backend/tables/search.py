"""Full-text search: an index beside the table, made once per choice of columns; without one, a scan.

wind turbine        rows with both words         "wind turbine"      the two side by side
wind OR turbine     rows with either             wind -turbine       the first without the second
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import tantivy

from backend.errors import BadData, BadInput
from backend.tables import child, pages
from backend.tables.filters import Filter
from backend.tables.table import ROW, Column, Table, quoted

LIMITS = child.Limits(seconds=3600, memory=3 << 30, file=8 << 30, nice=5, hint="Choose fewer columns.")
MOST = 10_000  # hits that can be paged through
HITS = 2_000  # those that can be filtered or sorted further
WRITER = 64 << 20  # bytes held before they are written
# Scripts written without spaces between words, which the index would take for one word each.
_RUN_ON = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def search(
    table: Table,
    query: str,
    columns: Sequence[str] | None = None,
    offset: int = 0,
    length: int = 50,
    show: Sequence[str] | None = None,
) -> dict[str, Any]:
    """What `pages.rows` gives, best match first where there is an index, and `by`: index or scan.

    Without an index every word must occur somewhere in the columns, as it is written. `total` counts all matches; the
    first 10,000 can be paged through. Raises BadInput for an empty query, NotFound.
    """
    picked = searched(table, columns)
    if not query.strip():
        raise BadInput("The search is empty.", "Write a word to look for.")
    if len(query) > 1_000:
        raise BadInput(f"The search has {len(query):,} characters; at most 1,000 are read.", "Shorten it.")
    if not 1 <= length <= pages.LENGTH or not 0 <= offset <= MOST - length:
        raise BadInput(f"Rows {offset} to {offset + length} were asked for.", f"Ask for ≤ 100 of the first {MOST:,}.")
    if table.remote:
        raise BadInput(f"{table.name} is on the Hub; what is here is searched.", "Bring a part of it here first.")
    place = _place(table, picked)
    if place.exists() and not _RUN_ON.search(query):
        numbers, total, by = *_looked_up(place, query, picked, offset, length), "index"
    else:
        found = _scanned(table, query, picked)
        numbers, total, by = [int(n) for n in found[offset : offset + length]], len(found), "scan"
    shown = table.pick(show) if show is not None else table.columns[: pages.COLUMNS]
    return {
        "columns": [pages.described(column) for column in shown],
        "rows": pages.fetch(table, numbers, shown),
        "numbers": numbers,
        "total": total,
        "partial": table.partial,
        "by": by,
    }


def hits(table: Table, query: str, columns: Sequence[str] | None = None) -> tuple[list[int], int, str]:
    """Row numbers of the first matches, how many there are in all, and how they were found."""
    small = [min(table.columns, key=lambda column: column.kind in ("text", "chat", "nested", "image", "audio")).name]
    numbers: list[int] = []
    while True:
        page = search(table, query, columns, len(numbers), pages.LENGTH, small)
        numbers += page["numbers"]
        if len(page["numbers"]) < pages.LENGTH or len(numbers) >= HITS:
            return numbers, page["total"], page["by"]


def searched(table: Table, columns: Sequence[str] | None = None) -> tuple[Column, ...]:
    """The named columns, or all that hold text or chats. Raises BadInput when there are none, NotFound."""
    picked = table.pick(columns) if columns else tuple(c for c in table.columns if c.kind in ("text", "chat", "nested"))
    if not picked:
        raise BadInput(f"{table.name} has no column with text.", "Filter or sort its numbers instead.")
    return picked[:50]


def index(
    table: Table,
    columns: Sequence[str] | None = None,
    say: child.Say = child.silent,
    stop: threading.Event | None = None,
) -> None:
    """Make the index, in a process of its own; `say(done, rows)` as it goes. Raises NoRoom, BadData and `stopped.…`."""
    picked = searched(table, columns)
    place = _place(table, picked)
    if place.exists():
        return
    if table.remote:
        raise BadInput(f"{table.name} is on the Hub; what is here can be indexed.", "Bring a part of it here first.")
    table.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=table.folder, prefix="new-") as new:
        request = {
            "question": f"SELECT {', '.join(_texts(picked))} FROM {table.scan()}",  # in the files' order
            "fields": len(picked),
            "rows": table.rows,
            "folder": new,
        }
        child.run("backend.tables.search", request, LIMITS, say, stop)
        if not place.exists():
            shutil.move(new, place)
            Path(new).mkdir()  # for the end of the block


def _place(table: Table, columns: tuple[Column, ...]) -> Path:
    names = json.dumps([*table.files, *sorted(column.name for column in columns)])
    return table.folder / f"index-{hashlib.sha256(names.encode()).hexdigest()[:16]}"


def _texts(columns: tuple[Column, ...]) -> list[str]:
    """What of each column is searched: of a chat, what was said."""
    found = []
    for column in columns:
        name = quoted(column.name)
        if column.kind == "chat":
            name = f"array_to_string(list_transform({name}, lambda x: x.content), chr(10))"
        elif column.kind != "text":
            name = f"CAST({name} AS VARCHAR)"
        found.append(name)
    return found


def _scanned(table: Table, query: str, columns: tuple[Column, ...]) -> Any:
    """Row numbers in order."""
    words = [a or b for a, b in re.findall(r'"([^"]+)"|(\S+)', query)]
    if len(columns) == 1 and columns[0].kind == "text":
        return pages.selection(table, (), tuple(Filter(columns[0].name, "contains", word) for word in words))
    text = f"concat_ws(chr(10), {', '.join(_texts(columns))})"
    escaped = [word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("'", "''") for word in words]
    condition = " AND ".join(f"{text} ILIKE '%{word}%' ESCAPE '\\'" for word in escaped)
    key = (table.files, "search", condition)
    kept = table.database.selections.get(key)
    if kept is None:
        kept = table.database.numbers(f"SELECT {ROW} FROM {table.scan()} WHERE {condition}")
        kept.sort()
        table.database.selections.put(key, kept)
    return kept


def _looked_up(place: Path, query: str, columns: tuple[Column, ...], offset: int, length: int) -> tuple[list[int], int]:
    found = tantivy.Index.open(str(place))
    fields = [f"c{i}" for i in range(len(columns))]
    parsed, _ = found.parse_query_lenient(query, fields, conjunction_by_default=True)
    searcher = found.searcher()
    result = searcher.search(parsed, limit=length, offset=offset, count=True)
    numbers = searcher.fast_field_values("row", [address for _, address in result.hits])
    return [int(number) for number in numbers if number is not None], int(result.count or 0)  # type: ignore[attr-defined]  # missing in its stubs


# -- the child's side -------------------------------------------------------------------------------------------


def answer(request: dict[str, Any], say: child.Say) -> dict[str, Any]:
    """Read the texts in order, write the index."""
    names = [f"c{i}" for i in range(request["fields"])]
    builder = tantivy.SchemaBuilder()
    for name in names:
        builder.add_text_field(name, stored=False)
    builder.add_integer_field("row", stored=False, fast=True)
    writer = tantivy.Index(builder.build(), path=request["folder"]).writer(heap_size=WRITER, num_threads=1)
    connection = duckdb.connect(":memory:", config={"memory_limit": "500MB", "temp_directory": ""})
    number = 0
    try:
        cursor = connection.execute(request["question"])
        while some := cursor.fetchmany(2_000):
            for texts in some:
                fields = {name: text for name, text in zip(names, texts, strict=True) if text}
                writer.add_document(tantivy.Document(row=number, **fields))
                number += 1
            say(number, request["rows"])
        writer.commit()
        writer.wait_merging_threads()
    except (duckdb.Error, ValueError, OSError) as error:
        raise BadData("The index can't be written.", "Free some space and try again.") from error
    return {"rows": number}


if __name__ == "__main__":
    child.serve(answer)
