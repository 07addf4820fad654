"""What a page or a program asks in plain values, as the tables know it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from backend.data.source import Source
from backend.errors import BadInput

if TYPE_CHECKING:
    from backend.tables.filters import Filter
    from backend.tables.pages import Sort


def filters(given: Sequence[Mapping[str, Any]]) -> tuple[Filter, ...]:
    """Raises BadInput for what is no filter."""
    from backend.tables.filters import OPS, Filter

    found = []
    for one in given:
        value = one.get("value")
        value = tuple(value) if isinstance(value, list | tuple) else value
        parts = value if isinstance(value, tuple) else (value,)
        if one.get("op") not in OPS or not all(part is None or isinstance(part, str | int | float) for part in parts):
            raise BadInput(f"{str(dict(one))[:120]} is not a filter.", f"Give column, value and op: {', '.join(OPS)}.")
        found.append(Filter(str(one.get("column", "")), one["op"], value))
    return tuple(found)


def numbered(numbers: Sequence[int]) -> Filter:
    """Only the rows of these numbers."""
    from backend.tables.filters import Filter
    from backend.tables.table import ROW

    return Filter(ROW, "in", tuple(numbers))


def sorts(given: Sequence[Mapping[str, Any]]) -> tuple[Sort, ...]:
    """In order of weight."""
    from backend.tables.pages import Sort

    return tuple(Sort(str(one.get("column", "")), bool(one.get("descending"))) for one in given)


def other(source: Source, name: str) -> Source:
    """Another dataset of the same visitor's, or a part of it as `Part` tells; `:split` for a split of this one."""
    if name.strip().startswith(":"):
        return replace(source, split=name.strip()[1:])
    return Source(name, source.owner, token=source.token)
