"""The plain Python, with `datasets`, that prints the rows of a page."""

from __future__ import annotations

from collections.abc import Sequence

from backend.tables import search, shape
from backend.tables.filters import Filter
from backend.tables.pages import Sort
from backend.tables.table import Table


def rows(
    table: Table,
    offset: int,
    length: int,
    sort: Sequence[Sort],
    filters: Sequence[Filter],
    query: str,
    within: Sequence[str] | None,
    columns: Sequence[str] | None,
) -> str:
    """As `pages.rows` with these settings."""
    lines = [f"dataset = {table.load}"]
    if filters:
        lines += shape.Keep(filters=list(filters)).code().splitlines()
    if query.strip():
        names = [column.name for column in search.searched(table, within)]
        words = query.replace('"', "").lower().split()
        lines += [
            f"columns, words = {names!r}, {words!r}",
            "text = lambda row: ' '.join(str(row[name]) for name in columns).lower()",
            "dataset = dataset.filter(lambda row: all(word in text(row) for word in words))",
        ]
    if sort:
        by, down = [one.column for one in sort], [one.descending for one in sort]
        lines += [f'dataset = dataset.sort({by!r}, reverse={down!r}, null_placement="at_end")']
    if columns is not None:
        lines += [f"dataset = dataset.select_columns({list(columns)!r})"]
    lines += [f"for row in dataset.skip({offset}).take({length}):", "    print(row)"]
    heads = ["from datasets import load_dataset", ""]
    if "pandas." in lines[0]:
        heads = ["import pandas", "from datasets import Dataset", ""]
    if any("re.search(" in line for line in lines):
        heads = ["import re", "", *heads]
        lines = [line for line in lines if line != "import re"]
    return "\n".join([*heads, *lines]) + "\n"
