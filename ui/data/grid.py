"""Rows as a table with figures above each column, and what narrows them. Pure.

What can be pressed carries `data-act` and what it acts on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ui.data.cells import cell, size
from ui.data.view import LENGTH, View
from ui.views import plural, text

FIGURES = 40  # columns whose figures are shown


def press(act: str, **data: Any) -> str:
    """What makes a button tell that it was pressed, and on what."""
    return f'type="button" data-act="{act}"' + "".join(
        f' data-{key}="{text(value if isinstance(value, str) else json.dumps(value))}"' for key, value in data.items()
    )


def facts(told: Mapping[str, Any]) -> str:
    """Rows, columns, size, and whether that is the whole."""
    words = [plural(told["rows"], "row"), plural(len(told["columns"]), "column"), size(told["bytes"])]
    part = f'<span class="state">only {text(told["partial"])}</span>' if told["partial"] else "<span>whole</span>"
    notes = "".join(f"<li>{text(note)}</li>" for note in told["notes"][:8])
    notes = f'<ul class="cost quiet">{notes}</ul>' if notes else ""
    return f'<p class="facts"><b>{text(" · ".join(filter(None, words)))}</b> <span class=quiet>{part}</span></p>{notes}'


def chips(view: View) -> str:
    """What narrows the rows, each with a way to drop it."""
    shown = [(said(one), f"drop-{i}") for i, one in enumerate(view["filters"])]
    if view["q"]:
        places = f" in {', '.join(view['within'])}" if view["within"] else ""
        shown.insert(0, (f"search: {view['q']}{places}", "search"))
    if view["sort"]:
        shown.append((f"by {', '.join(map(arrowed, view['sort']))}", "sort"))
    if not shown:
        return ""
    words = "".join(
        f'<button type="button" class="chip" data-act="drop" data-what="{what}" title="Remove">{text(said)} ×</button>'
        for said, what in shown
    )
    clear = '<button type="button" class="chip" data-act="drop" data-what="all">Clear all</button>'
    return f'<div class="chips">{words}{clear if len(shown) > 1 else ""}</div>'


def arrowed(sort: Mapping[str, Any]) -> str:
    """`name ↑`."""
    return f"{sort['column']} {'↓' if sort['descending'] else '↑'}"


def said(one: Mapping[str, Any]) -> str:
    """A filter in words."""
    name = "row number" if one["column"] == "_row" else one["column"]
    value = one["value"]
    if one["op"] in ("null", "not null"):
        return f"{name} is {one['op']}"
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value[:3])) + (f" … {len(value):,} in all" if len(value) > 3 else "")
    return f"{name} {one['op']} {str(value)[:60]}"


def grid(
    page: Mapping[str, Any],
    view: View,
    figures: Mapping[str, Mapping[str, Any]],
    pictures: Mapping[tuple[int, int], str],
) -> str:
    """The rows as a table with figures above each column; `pictures` are data URLs by (row, column) on the page."""
    columns = page["columns"]
    heads = "".join(_head(column, view, figures.get(column["name"])) for column in columns)
    body = "".join(
        f'<tr><th scope="row"><button {press("open", row=number)} title="Open row {number}">{number}</button></th>'
        + "".join(
            f'<td class="kind-{column["kind"]}">{cell(value, column, pictures.get((i, j), ""))}</td>'
            for j, (column, value) in enumerate(zip(columns, row, strict=True))
        )
        + "</tr>"
        for i, (number, row) in enumerate(zip(page["numbers"], page["rows"], strict=True))
    )
    none = "" if page["rows"] else f'<p class="quiet empty">{_nothing(view)}</p>'
    return (
        '<div class="table-scroll" tabindex="0" role="region" aria-label="Rows"><table class="data">'
        f'<thead><tr><td class="corner">#</td>{heads}</tr></thead><tbody>{body}</tbody></table>{none}</div>'
        f"{_pager(page, view)}{_whole(figures, view, min(len(columns), FIGURES))}"
    )


def _whole(figures: Mapping[str, Mapping[str, Any]], view: View, columns: int) -> str:
    """Of what the figures are, with a way to those of all rows; or how far these are."""
    if view["whole"]:
        far = f": {len(figures)} of {columns} columns so far" if len(figures) < columns else ""
        return f'<p class="quiet" id="data-whole-figures">Figures of all rows{far}.</p>'
    if not any(one["partial"] for one in figures.values()):
        return ""
    way = f'<button {press("whole")} class="chip">Of all rows</button>'
    return f'<p class="quiet" id="data-whole-figures">Figures of a part of the rows. {way}</p>'


def _nothing(view: View) -> str:
    return "No row fits. Remove a filter above." if view["filters"] or view["q"] else "There are no rows here."


def _pager(page: Mapping[str, Any], view: View) -> str:
    total, at = page["total"], view["page"]
    last = max(0, (total - 1) // LENGTH)
    first = at * LENGTH
    ways = (("«", 0, "First page"), ("‹", at - 1, "Page before"), ("›", at + 1, "Next page"), ("»", last, "Last page"))
    buttons = [
        f'<button {press("page", page=to)} aria-label="{name}" title="{name}"'
        f"{' disabled' if not 0 <= to <= last or to == at else ''}>{sign}</button>"
        for sign, to, name in ways
    ]
    narrowed = bool(view["filters"] or view["q"] or view["sort"])
    start, noun = (1, "") if narrowed else (0, "Rows ")  # row numbers begin at 0, places in a list at 1
    span = (
        f"{noun}{first + start:,}–{first + start + len(page['rows']) - 1:,} of {total:,}" if page["rows"] else "0 rows"
    )
    how = {"scan": " found by reading all", "index": " best first"}.get(page.get("by", ""), "")
    part = f" · only {text(page['partial'])}" if page["partial"] else ""
    box = f'<input type="number" min="0" max="{max(0, total - 1)}" data-jump aria-label="Go to row">'
    jump = "" if narrowed else f"<label>Go to row {box}</label>"
    return (
        f'<div class="pager">{"".join(buttons[:2])}<span id="data-span">{span}{how}{part}</span>'
        f"{''.join(buttons[2:])}{jump}</div>"
    )


def _head(column: Mapping[str, Any], view: View, figure: Mapping[str, Any] | None) -> str:
    name = column["name"]
    place = next((i for i, one in enumerate(view["sort"]) if one["column"] == name), None)
    mine = None if place is None else view["sort"][place]
    arrow = ("↓" if mine["descending"] else "↑") if mine else ""
    if mine and len(view["sort"]) > 1:
        arrow += f"<sup>{(place or 0) + 1}</sup>"
    state = ("descending" if mine["descending"] else "ascending") if mine else "none"
    kind = typed(column)
    return (
        f'<th scope="col" aria-sort="{state}"><button class="name" {press("sort", column=name)} '
        f'title="Sort by {text(name)}; with Shift also by it">{text(name)} {arrow}</button>'
        f'<span class="quiet" title="{text(column["type"][:300])}">{text(kind[:24])}</span>{above(column, figure)}</th>'
    )


def typed(column: Mapping[str, Any]) -> str:
    """What a column holds: a kind that says more than the type, or that."""
    return str(column["kind"] if column["kind"] in ("chat", "label", "image", "audio") else column["type"].lower())


def above(column: Mapping[str, Any], figure: Mapping[str, Any] | None) -> str:
    """Missing and distinct values, range, bars or the commonest values; each can be pressed to filter."""
    if figure is None:
        return '<div class="figure"></div>'
    name, rows = column["name"], figure["rows"]
    words = []
    if nulls := figure.get("nulls"):
        null = [{"column": name, "op": "null", "value": None}]
        share = f"{100 * nulls / max(1, rows):.2g}%"
        words.append(f'<button {press("filter", filters=null)} title="Show them">{share} null</button>')
    if figure.get("distinct") is not None:
        words.append(f"{figure['distinct']:,} distinct")
    low, high, of = figure.get("min"), figure.get("max"), figure.get("of", "")
    if low is not None and column["kind"] not in ("label", "boolean") and not ("top" in figure and not of):
        one = of.removesuffix("s") if low == 1 else of
        words.append(f"{_short(low)} – {_short(high)} {of}" if low != high else f"{_short(low)} {one} each")
    if (mean := figure.get("mean")) is not None and low != high and (of or not figure.get("top")):
        words.append(f"mean {_short(mean)}")
    if (p95 := figure.get("p95")) is not None:
        words.append(f"95% have at most {_short(p95)}")
    part = f'<div class="part">{text(figure["partial"])}</div>' if figure["partial"] else ""
    drawn = _top(name, figure) if figure.get("top") else _bars(name, figure)
    return f'<div class="figure">{drawn}<div class="quiet">{" · ".join(words)}</div>{part}</div>'


def figure(told: Mapping[str, Any]) -> str:
    """Figures of one column by themselves."""
    if not told.get("histogram"):
        return '<p class="quiet">There is no text in these rows.</p>'
    return above({"name": told["column"], "kind": told["kind"]}, told).replace('"figure"', '"figure wide"', 1)


def _bars(name: str, figure: Mapping[str, Any]) -> str:
    bars = figure.get("histogram") or []
    most = max((bar["count"] for bar in bars), default=0)
    if not most or len(bars) == 1:
        return ""
    drawn = []
    for i, bar in enumerate(bars):
        tall = f"height:{max(4, round(100 * bar['count'] / most)) if bar['count'] else 0}%"
        of = figure.get("of", "")
        words = f"{_short(bar['from'])} – {_short(bar['to'])} {of}: {plural(bar['count'], 'row')}"
        if of:  # a length: no filter says it
            drawn.append(f'<span title="{text(words)}"><i style="{tall}"></i></span>')
            continue
        end = "<=" if i == len(bars) - 1 else "<"
        asked = [{"column": name, "op": ">=", "value": bar["from"]}, {"column": name, "op": end, "value": bar["to"]}]
        drawn.append(
            f'<button tabindex="-1" {press("filter", filters=asked)} title="{text(words)}">'
            f'<i style="{tall}"></i></button>'
        )
    return f'<div class="bars">{"".join(drawn)}{_mean(figure, bars)}</div>'


def _mean(figure: Mapping[str, Any], bars: Sequence[Mapping[str, Any]]) -> str:
    """A line where the mean is."""
    mean, low, high = figure.get("mean"), bars[0]["from"], bars[-1]["to"]
    if not all(isinstance(one, int | float) for one in (mean, low, high)) or not low <= mean <= high or low == high:
        return ""
    return (
        f'<span class="mean" style="left:{100 * (mean - low) / (high - low):.1f}%" title="mean {_short(mean)}"></span>'
    )


def _top(name: str, figure: Mapping[str, Any]) -> str:
    most, lines = figure["top"][0]["count"], []
    for one in figure["top"][:4]:
        value = one["value"]
        if isinstance(value, dict):
            asked = {"column": name, "op": "starts", "value": value["shortened"]}
        else:
            asked = {"column": name, "op": "=", "value": value}
        shown = str(one.get("name", value["shortened"] if isinstance(value, dict) else value))
        lines.append(
            f'<button tabindex="-1" {press("filter", filters=[asked])} title="{text(shown[:200])}: {one["count"]:,}">'
            f'<i style="width:{round(100 * one["count"] / most)}%"></i><span>{text(shown[:40]) or "empty"}</span>'
            f"<b>{one['count']:,}</b></button>"
        )
    return f'<div class="top">{"".join(lines)}</div>'


def _short(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return text(str(value)[:19])
    return f"{value:,}" if isinstance(value, int) and abs(value) < 1e7 else f"{value:,.4g}"
