"""Figures of a column: missing and distinct values, range, a histogram or the commonest values.

Of a large table they are of its first rows, and say so; `whole=True` asks for all of it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from backend.tables.cells import safe
from backend.tables.filters import Filter, where
from backend.tables.table import Column, Table, quoted

# rows looked at unless the whole is asked for; text takes longer to read
PART, TEXT_PART, REMOTE_PART = 1_000_000, 250_000, 20_000
BARS = 20
TOP = 10
FEW = 30  # so many different numbers are shown one by one
MANY = 0.5  # above this share of different texts the commonest ones say nothing


@dataclass(frozen=True)
class Part:
    """What is looked at: FROM text with the condition, rows in it, and words for a reader."""

    source: str
    rows: int
    says: str


def column(table: Table, name: str, filters: Sequence[Filter] = (), whole: bool = False) -> dict[str, Any]:
    """{column, kind, rows, nulls, distinct, min, max, mean, …, histogram or top, partial}.

    `histogram` is [{from, to, count}], the last bar closed on both sides; `top` is [{value, count}] (and `name` for a
    label). Of text, `histogram` counts characters and `min`, `max`, `mean` are lengths. `distinct` is an estimate
    (about 2 %). `partial` is '' for the whole. Raises NotFound.
    """
    picked = table.column(name)
    part = _part(table, picked, filters, whole)
    answer = {"column": name, "kind": picked.kind, "type": picked.type, "rows": part.rows, "partial": part.says}
    if picked.kind == "number":
        return answer | _number(table, picked, part)
    if picked.kind in ("text", "label", "boolean"):
        return answer | _words(table, picked, part)
    if picked.kind == "time":
        return answer | _time(table, picked, part)
    return answer | _sizes(table, picked, part)


def _part(table: Table, picked: Column, filters: Sequence[Filter], whole: bool) -> Part:
    usual = PART if picked.kind in ("number", "boolean", "time", "label") else TEXT_PART
    first = None if whole else REMOTE_PART if table.remote else usual
    asked = {
        picked.name,
        *(one.column for one in filters),
    }  # naming all of 10,000 columns takes longer than reading one
    source, rows = replace(table, columns=tuple(one for one in table.columns if one.name in asked)).part(first)
    says = said(table, rows)
    condition = where(filters, table)
    if condition:
        source = f"(SELECT * FROM {source} WHERE {condition})"
        rows = int(table.database.ask(f"SELECT count(*) FROM {source}")[0][0])
    return Part(source, rows, says)


def said(table: Table, rows: int) -> str:
    return f"the first {rows:,} of {table.rows:,} rows" if rows < table.rows else table.partial


def _number(table: Table, picked: Column, part: Part) -> dict[str, Any]:
    name = quoted(picked.name)
    finite = f"isfinite({name})" if picked.type in ("FLOAT", "DOUBLE") else "true"
    record = table.database.ask(
        f"SELECT count({name}), approx_count_distinct({name}), min({name}) FILTER ({finite}), "
        f"max({name}) FILTER ({finite}), avg(CAST({name} AS DOUBLE)) FILTER ({finite}), "
        f"stddev(CAST({name} AS DOUBLE)) FILTER ({finite}), count(*) FILTER (NOT {finite}) FROM {part.source}"
    )[0]
    count, distinct, low, high, mean, deviation, odd = record
    answer: dict[str, Any] = {
        "nulls": part.rows - count,
        "distinct": min(distinct, count),
        "not_finite": odd,
        "min": safe(low),
        "max": safe(high),
        "mean": safe(mean),
        "deviation": safe(deviation),
    }
    if low is None:
        return answer | {"histogram": []}
    whole = "INT" in picked.type
    if distinct <= FEW and whole:
        return answer | {"top": _top(table, picked, part, FEW, f"{name}")}
    edges = _edges(low, high, whole)
    width = (edges[1] - edges[0]) or 1.0
    # halves, since the difference itself may overflow
    along = f"(CAST({name} AS DOUBLE) / 2 - {edges[0] / 2!r}) / {width / 2!r}"
    bar = f"CAST(least({len(edges) - 2}, floor({along})) AS INTEGER)"
    bars = dict(
        table.database.ask(
            f"SELECT greatest(0, {bar}) AS bar, count(*) FROM {part.source} "
            f"WHERE {name} IS NOT NULL AND {finite} GROUP BY 1"
        )
    )
    return answer | {
        "histogram": [
            {"from": edge, "to": end, "count": bars.get(i, 0)}
            for i, (edge, end) in enumerate(itertools.pairwise(edges))
        ]
    }


def _edges(low: Any, high: Any, whole: bool) -> list[float]:
    """At most BARS+1 edges; for whole numbers a bar is a whole number wide."""
    start, end = float(low), float(high)
    if whole:
        width = float(max(1, math.ceil((end + 1 - start) / BARS)))
        return [start + i * width for i in range(math.ceil((end + 1 - start) / width) + 1)]
    width = end / BARS - start / BARS  # divided first: the range itself may overflow
    return [start + i * width for i in range(BARS)] + [end] if width else [start, end]


def _top(table: Table, picked: Column, part: Part, most: int, shown: str) -> list[dict[str, Any]]:
    name = quoted(picked.name)
    found = table.database.ask(
        f"SELECT {shown}, count(*) FROM (SELECT {name} FROM {part.source}) WHERE {name} IS NOT NULL "
        f"GROUP BY {name} ORDER BY count(*) DESC, {name} LIMIT {most}"
    )
    if picked.names:
        named = dict(enumerate(picked.names))
        return [{"value": value, "name": named.get(value, str(value)), "count": count} for value, count in found]
    return [{"value": safe(value, 200), "count": count} for value, count in found]


def _words(table: Table, picked: Column, part: Part) -> dict[str, Any]:
    name = quoted(picked.name)
    length = f"length({name})" if picked.kind == "text" else "0"
    count, distinct, low, high, mean, empty = table.database.ask(
        f"SELECT count({name}), approx_count_distinct({name}), min({length}), max({length}), avg({length}), "
        f"count(*) FILTER ({length} = 0) FROM {part.source}"
    )[0]
    answer: dict[str, Any] = {"nulls": part.rows - count, "distinct": min(distinct, count)}
    if picked.kind == "text":
        answer |= {"min": low, "max": high, "mean": safe(mean), "empty": empty}
        if distinct > max(FEW, MANY * count):
            return answer | {"histogram": _counted(table, part, length, low, high), "of": "characters"}
    shown = f"left({name}, 200)" if picked.kind == "text" else name
    return answer | {"top": _top(table, picked, part, TOP, shown)}


def _time(table: Table, picked: Column, part: Part) -> dict[str, Any]:
    name = quoted(picked.name)
    count, distinct, low, high = table.database.ask(
        f"SELECT count({name}), approx_count_distinct({name}), CAST(min({name}) AS VARCHAR), "
        f"CAST(max({name}) AS VARCHAR) FROM {part.source}"
    )[0]
    answer = {"nulls": part.rows - count, "distinct": min(distinct, count), "min": low, "max": high}
    if not count or not picked.type.startswith(("DATE", "TIMESTAMP")):
        return answer | {"histogram": []}
    seconds = f"CAST(epoch({name}) AS DOUBLE)"
    start, end = table.database.ask(f"SELECT min({seconds}), max({seconds}) FROM {part.source} WHERE isfinite({name})")[
        0
    ]
    if start is None:
        return answer | {"histogram": []}
    width = (end - start) / BARS or 1.0
    bar = f"least({BARS - 1}, CAST(floor(({seconds} - {start!r}) / {width!r}) AS INTEGER))"
    moment = f"CAST(make_timestamp(CAST(({start!r} + n * {width!r}) * 1e6 AS BIGINT)) AS VARCHAR)"
    bars = table.database.ask(
        f"SELECT {moment.replace(' n ', ' i ')}, {moment.replace(' n ', ' (i + 1) ')}, coalesce(c, 0) "
        f"FROM range({BARS}) AS r(i) LEFT JOIN (SELECT {bar} AS b, count(*) AS c FROM {part.source} "
        f"WHERE {name} IS NOT NULL AND isfinite({name}) GROUP BY 1) ON b = i ORDER BY i"
    )
    return answer | {"histogram": [{"from": a, "to": b, "count": c} for a, b, c in bars]}


def _sizes(table: Table, picked: Column, part: Part) -> dict[str, Any]:
    """Nested values by their length, bytes and media by their size."""
    name = quoted(picked.name)
    if picked.kind in ("image", "audio", "bytes"):
        size, of = f"octet_length({name}{'' if picked.kind == 'bytes' else '.bytes'})", "bytes"
    elif picked.type.endswith("[]"):
        size, of = f"len({name})", "items"
    else:
        size, of = f"length(CAST({name} AS VARCHAR))", "characters"
    count, low, high, mean = table.database.ask(
        f"SELECT count({size}), min({size}), max({size}), avg({size}) FROM {part.source}"
    )[0]
    bars = _counted(table, part, size, low, high)
    return {"nulls": part.rows - count, "min": low, "max": high, "mean": safe(mean), "histogram": bars, "of": of}


def _counted(table: Table, part: Part, size: str, low: int | None, high: int | None) -> list[dict[str, Any]]:
    """Bars over whole numbers worked out by `size`."""
    if low is None or high is None:
        return []
    width = max(1, math.ceil((high + 1 - low) / BARS))
    bars = dict(
        table.database.ask(f"SELECT ({size} - {low}) // {width} AS bar, count(*) FROM {part.source} GROUP BY 1")
    )
    last = (high - low) // width
    return [{"from": low + i * width, "to": low + (i + 1) * width, "count": bars.get(i, 0)} for i in range(last + 1)]
