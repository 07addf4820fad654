"""What a person sees of a dataset, as HTML: the grid, a row, figures, results. Pure: no gradio, no files.

Every text that comes from a dataset is escaped. What can be pressed carries `data-act` and what it acts on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from ui.views import plural, text

LENGTH = 25  # rows of a page
FIGURES = 40  # columns whose figures are shown
ADDRESS = 1_500  # characters of a condition that a link carries
TREE = 200  # entries of a nested value that are drawn
SHOWN_OF_ROW = 20_000  # characters of a cell in an opened row
View = Mapping[str, Any]  # dataset, config, split, q, filters, sort, page, columns

START: dict[str, Any] = {
    "dataset": "", "config": "", "split": "", "q": "", "filters": [], "sort": None, "page": 0, "columns": []
}  # fmt: skip


def address(view: View, condition: str) -> str:
    """The part of a link behind the question mark; '' leaves out what is as it opens."""
    parts = {"tab": "data"} | {key: view[key] for key in ("dataset", "config", "split", "q") if view[key]}
    if condition and len(condition) <= ADDRESS:
        parts["where"] = condition
    if sort := view["sort"]:
        parts["sort"] = ("-" if sort["descending"] else "") + sort["column"]
    if view["page"]:
        parts["p"] = view["page"] + 1  # Gradio takes `page` for itself
    if view["columns"]:
        parts["columns"] = json.dumps(view["columns"], ensure_ascii=False)
    return urlencode(parts)


def size(many: float | None) -> str:
    """`14.2 kB`."""
    if many is None:
        return ""
    for unit in ("B", "kB", "MB", "GB"):
        if many < 1000 or unit == "GB":
            return f"{many:,.0f} B" if unit == "B" else f"{many:,.1f} {unit}"
        many /= 1000
    raise AssertionError


def facts(told: Mapping[str, Any]) -> str:
    """Rows, columns, size, and whether that is the whole."""
    words = [plural(told["rows"], "row"), plural(len(told["columns"]), "column"), size(told["bytes"])]
    part = f'<span class="state">only {text(told["partial"])}</span>' if told["partial"] else "<span>whole</span>"
    notes = "".join(f"<li>{text(note)}</li>" for note in told["notes"][:8])
    notes = f'<ul class="cost quiet">{notes}</ul>' if notes else ""
    return f'<p class="facts"><b>{text(" · ".join(filter(None, words)))}</b> <span class=quiet>{part}</span></p>{notes}'


# -- filters ----------------------------------------------------------------------------------------------------


def chips(view: View) -> str:
    """What narrows the rows, each with a way to drop it."""
    shown = [(_said(one), f"drop-{i}") for i, one in enumerate(view["filters"])]
    if view["q"]:
        shown.insert(0, (f"search: {view['q']}", "search"))
    if view["sort"]:
        shown.append((f"by {view['sort']['column']} {'↓' if view['sort']['descending'] else '↑'}", "sort"))
    if not shown:
        return ""
    words = "".join(
        f'<button type="button" class="chip" data-act="drop" data-what="{what}" title="Remove">{text(said)} ×</button>'
        for said, what in shown
    )
    clear = '<button type="button" class="chip" data-act="drop" data-what="all">Clear all</button>'
    return f'<div class="chips">{words}{clear if len(shown) > 1 else ""}</div>'


def _said(one: Mapping[str, Any]) -> str:
    name = "row number" if one["column"] == "_row" else one["column"]
    value = one["value"]
    if one["op"] in ("null", "not null"):
        return f"{name} is {one['op']}"
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value[:3])) + (f" … {len(value):,} in all" if len(value) > 3 else "")
    return f"{name} {one['op']} {str(value)[:60]}"


def _press(act: str, **data: Any) -> str:
    return f'type="button" data-act="{act}"' + "".join(
        f' data-{key}="{text(value if isinstance(value, str) else json.dumps(value))}"' for key, value in data.items()
    )


# -- the grid ---------------------------------------------------------------------------------------------------


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
        f'<tr><th scope="row"><button {_press("open", row=number)} title="Open row {number}">{number}</button></th>'
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
        f"{_pager(page, view)}"
    )


def _nothing(view: View) -> str:
    return "No row fits. Remove a filter above." if view["filters"] or view["q"] else "There are no rows here."


def _pager(page: Mapping[str, Any], view: View) -> str:
    total, at = page["total"], view["page"]
    last = max(0, (total - 1) // LENGTH)
    first = at * LENGTH
    ways = (("«", 0, "First page"), ("‹", at - 1, "Page before"), ("›", at + 1, "Next page"), ("»", last, "Last page"))
    buttons = [
        f'<button {_press("page", page=to)} aria-label="{name}" title="{name}"'
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
    name, sort = column["name"], view["sort"]
    mine = bool(sort and sort["column"] == name)
    arrow = ("↓" if sort["descending"] else "↑") if mine and sort else ""
    state = ("descending" if sort["descending"] else "ascending") if mine and sort else "none"
    kind = column["kind"] if column["kind"] in ("chat", "label", "image", "audio") else column["type"].lower()
    return (
        f'<th scope="col" aria-sort="{state}"><button class="name" {_press("sort", column=name)} '
        f'title="Sort by {text(name)}">{text(name)} {arrow}</button>'
        f'<span class="quiet" title="{text(column["type"][:300])}">{text(kind[:24])}</span>{above(column, figure)}</th>'
    )


def above(column: Mapping[str, Any], figure: Mapping[str, Any] | None) -> str:
    """Missing and distinct values, range, bars or the commonest values; each can be pressed to filter."""
    if figure is None:
        return '<div class="figure"></div>'
    name, rows = column["name"], figure["rows"]
    words = []
    if nulls := figure.get("nulls"):
        null = [{"column": name, "op": "null", "value": None}]
        share = f"{100 * nulls / max(1, rows):.2g}%"
        words.append(f'<button {_press("filter", filters=null)} title="Show them">{share} null</button>')
    if figure.get("distinct") is not None:
        words.append(f"{figure['distinct']:,} distinct")
    low, high, of = figure.get("min"), figure.get("max"), figure.get("of", "")
    if low is not None and column["kind"] not in ("label", "boolean") and not ("top" in figure and not of):
        one = of.removesuffix("s") if low == 1 else of
        words.append(f"{_short(low)} – {_short(high)} {of}" if low != high else f"{_short(low)} {one} each")
    part = f'<div class="part">{text(figure["partial"])}</div>' if figure["partial"] else ""
    drawn = _top(name, figure) if figure.get("top") else _bars(name, figure)
    return f'<div class="figure">{drawn}<div class="quiet">{" · ".join(words)}</div>{part}</div>'


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
            f'<button tabindex="-1" {_press("filter", filters=asked)} title="{text(words)}">'
            f'<i style="{tall}"></i></button>'
        )
    return f'<div class="bars">{"".join(drawn)}</div>'


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
            f'<button tabindex="-1" {_press("filter", filters=[asked])} title="{text(shown[:200])}: {one["count"]:,}">'
            f'<i style="width:{round(100 * one["count"] / most)}%"></i><span>{text(shown[:40]) or "empty"}</span>'
            f"<b>{one['count']:,}</b></button>"
        )
    return f'<div class="top">{"".join(lines)}</div>'


def _short(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return text(str(value)[:19])
    return f"{value:,}" if isinstance(value, int) and abs(value) < 1e7 else f"{value:,.4g}"


# -- cells ------------------------------------------------------------------------------------------------------


def cell(value: Any, column: Mapping[str, Any], picture: str = "", most: int = 600) -> str:
    """One value, told apart by what its column holds."""
    if value is None:
        return '<i class="null">null</i>'
    if isinstance(value, dict) and "shortened" in value:
        left = value["length"] - len(value["shortened"][:most])
        start = text(value["shortened"][:most])
        return f'<div class="fold" dir="auto">{start}</div><span class=quiet>… {left:,} more characters</span>'
    if isinstance(value, dict) and "media" in value:
        return _media(value, picture)
    if isinstance(value, dict) and set(value) == {"bytes"}:
        return f"<span class=quiet>{size(value['bytes'])} of bytes</span>"
    if column["kind"] == "chat" and isinstance(value, list):
        return chat(value, most)
    if column["kind"] == "label":
        names = column.get("names", [])
        known = isinstance(value, int) and 0 <= value < len(names)
        return f'<span title="{text(value)}">{text(names[value] if known else value)}</span>'
    if isinstance(value, dict | list):
        return tree(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    words = str(value)
    if words == "":
        return '<i class="null">empty</i>'
    rest = f"<span class=quiet>… {len(words) - most:,} more characters</span>" if len(words) > most else ""
    return f'<div class="fold" dir="auto">{text(words[:most])}</div>{rest}' if isinstance(value, str) else text(words)


def _media(value: Mapping[str, Any], picture: str) -> str:
    name = f"{value.get('path') or value['media']} · {size(value.get('bytes'))}"
    if picture.startswith("data:image/"):
        return f'<img class="thumb" src="{text(picture)}" alt="{text(name)}" title="{text(name)}">'
    if picture.startswith("data:audio/"):
        return f'<audio controls preload="none" src="{text(picture)}" title="{text(name)}"></audio>'
    return f"<span class=quiet>{text(name)}</span>"


def chat(turns: Sequence[Any], most: int = 600) -> str:
    """A conversation, turn by turn."""
    said = []
    for turn in turns[:20]:
        who, words = (turn.get("role", ""), turn.get("content")) if isinstance(turn, dict) else ("", turn)
        words = words if isinstance(words, str) else json.dumps(words, ensure_ascii=False)
        more = "…" if len(words) > most else ""
        side = who if who in ("user", "assistant", "system") else "other"
        said.append(
            f'<div class="turn turn-{side}"><span class=quiet>{text(who)}</span>'
            f'<div class="fold" dir="auto">{text(words[:most])}{more}</div></div>'
        )
    rest = f"<span class=quiet>… {len(turns) - 20} more turns</span>" if len(turns) > 20 else ""
    return f'<div class="chat">{"".join(said)}{rest}</div>'


def tree(value: Any, open_: bool = False) -> str:
    """A nested value that opens level by level."""
    if not isinstance(value, dict | list):
        kind = "null" if value is None else type(value).__name__
        return f'<span class="leaf leaf-{kind}">{text(json.dumps(value, ensure_ascii=False))}</span>'
    pairs = list(value.items() if isinstance(value, dict) else enumerate(value))
    noun = "field" if isinstance(value, dict) else "item"
    lines = "".join(f"<li><b>{text(key)}</b> {tree(part)}</li>" for key, part in pairs[:TREE])
    more = f"<li class=quiet>… {len(pairs) - TREE:,} more</li>" if len(pairs) > TREE else ""
    hint = text(json.dumps(value, ensure_ascii=False)[:60])
    return (
        f'<details class="tree"{" open" if open_ else ""}><summary>{plural(len(pairs), noun)} '
        f"<span class=quiet>{hint}</span></summary><ul>{lines}{more}</ul></details>"
    )


# -- one row ----------------------------------------------------------------------------------------------------


def row(number: int, cells: Mapping[str, Any], columns: Sequence[Mapping[str, Any]], media: Mapping[str, str]) -> str:
    """A row as a panel: every cell whole, ways to the rows beside it, to copy it and to link to it."""
    kinds = {column["name"]: column for column in columns}
    parts = "".join(
        f"<dt>{text(name)} <span class=quiet>{text(kinds[name]['type'].lower()[:40])}</span></dt>"
        f"<dd>{_whole(value, kinds[name], media.get(name, ''))}</dd>"
        for name, value in cells.items()
    )
    copies = "".join(
        f'<button type="button" data-copy="{kind}">{title}</button>'
        for kind, title in (("json", "Copy as JSON"), ("markdown", "Copy as Markdown"), ("link", "Copy link"))
    )
    as_json, off = json.dumps(cells, ensure_ascii=False, indent=2), "" if number else " disabled"
    return (
        f'<div class="row-panel" data-row="{number}"><div class="row-head"><h3>Row {number:,}</h3>'
        f'<button {_press("open", row=number - 1)} aria-label="Row before"{off}>‹</button>'
        f'<button {_press("open", row=number + 1)} aria-label="Next row">›</button>{copies}'
        f'<button {_press("close")} aria-label="Close">×</button></div><dl>{parts}</dl>'
        f"<pre hidden data-json>{text(as_json)}</pre><pre hidden data-markdown>{text(markdown(cells))}</pre></div>"
    )


def _whole(value: Any, column: Mapping[str, Any], media: str) -> str:
    if isinstance(value, dict | list) and column["kind"] == "nested":
        return tree(value, open_=True)
    return cell(value, column, media, SHOWN_OF_ROW)


def markdown(cells: Mapping[str, Any]) -> str:
    """A heading for each column and the value below, as a code block unless it is one line."""
    parts = []
    for name, value in cells.items():
        words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
        fence = "````" if "```" in words else "```"
        block = "\n".join((fence, words, fence)) if "\n" in words else words
        parts.append(f"**{name}**\n\n{block}\n")
    return "\n".join(parts)


# -- SQL, quality, shape ----------------------------------------------------------------------------------------


def examples(columns: Sequence[Mapping[str, Any]], condition: str) -> list[tuple[str, str]]:
    """(title, statement) over the columns there are; what the grid shows comes first."""
    kinds: dict[str, str] = {}
    for column in columns:
        kinds.setdefault(column["kind"], '"' + column["name"].replace('"', '""') + '"')
    found = [("The first rows", "SELECT * FROM data LIMIT 10")]
    if condition:
        found.insert(0, ("What the grid shows", f"SELECT * FROM data WHERE {condition}"))
    found.append(("Count", "SELECT count(*) AS rows FROM data"))
    if name := kinds.get("text"):
        found.append(
            ("Longest texts", f"SELECT {name}, length({name}) AS characters FROM data ORDER BY 2 DESC LIMIT 10")
        )
        found.append(("Most common", f"SELECT {name}, count(*) AS rows FROM data GROUP BY 1 ORDER BY 2 DESC LIMIT 10"))
    if name := kinds.get("label") or kinds.get("boolean"):
        found.append(("By class", f"SELECT {name}, count(*) AS rows FROM data GROUP BY 1 ORDER BY 2 DESC"))
    if name := kinds.get("number"):
        found.append(("Range and mean", f"SELECT min({name}), avg({name}), max({name}) FROM data"))
    if name := kinds.get("chat"):
        found.append(("Turns", f"SELECT len({name}) AS turns, count(*) AS rows FROM data GROUP BY 1 ORDER BY 1"))
    found.append(("A random sample", "SELECT * FROM data USING SAMPLE 10"))
    return found


def result(answer: Mapping[str, Any]) -> str:
    """The rows of a query, how many and how long it took."""
    columns = [{"name": one["name"], "type": one["type"], "kind": _kind(one["type"])} for one in answer["columns"]]
    heads = "".join(
        f'<th scope="col">{text(one["name"])} <span class=quiet>{text(one["type"].lower()[:24])}</span></th>'
        for one in columns
    )
    body = "".join(
        "<tr>"
        + "".join(f'<td class="kind-{c["kind"]}">{cell(v, c)}</td>' for c, v in zip(columns, r, strict=True))
        + "</tr>"
        for r in answer["rows"][:200]
    )
    more = len(answer["rows"]) - 200
    words = [plural(len(answer["rows"]), "row") + (" and more; cut here" if answer["truncated"] else "")]
    words += [f"{answer['seconds']:.2f} s"] + (["the first 200 are shown"] if more > 0 else [])
    return (
        f'<p class="quiet" id="data-sql-words">{text(" · ".join(words))}</p><div class="table-scroll" tabindex="0">'
        f'<table class="data"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def _kind(type_: str) -> str:
    if type_ == "VARCHAR":
        return "text"
    return (
        "number"
        if type_.rstrip("0123456789(),").endswith(("INT", "INTEGER", "DOUBLE", "FLOAT", "DECIMAL"))
        else "other"
    )


def table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows of a preview."""
    heads = "".join(f'<th scope="col">{text(name)}</th>' for name in names)
    chats = ("messages", "prompt", "completion", "chosen", "rejected")  # when what they hold is a list
    kinds = [{"name": name, "kind": "chat" if name in chats else "text"} for name in names]
    body = "".join(
        "<tr>" + "".join(f"<td>{cell(value, kind)}</td>" for kind, value in zip(kinds, row, strict=True)) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="table-scroll" tabindex="0"><table class="data"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def findings(found: Sequence[Mapping[str, Any]]) -> str:
    """Each check: how many rows, of how many looked at, some of them, and a way to see them all."""
    lines = []
    for one in found:
        count, looked = one["count"], one["looked_at"]
        sample = ", ".join(
            f'<button {_press("open", row=number)} title="Open row {number}">{number}</button>'
            for number in one["sample"][:5]
        )
        show = (
            f'<button {_press("filter", filters=one["filters"])} class="chip">Show these rows</button>' if count else ""
        )
        lines.append(
            f'<tr class="{"found" if count else "none"}"><td class="kind-number"><b>{count:,}</b></td>'
            f"<td>{text(one['title'])}{_detail(one)}</td><td class=quiet>of {looked:,} looked at</td>"
            f"<td class=quiet>{f'rows {sample}' if count else ''}</td><td>{show}</td></tr>"
        )
    return f'<div class="table-scroll"><table class="data findings"><tbody>{"".join(lines)}</tbody></table></div>'


def _detail(one: Mapping[str, Any]) -> str:
    languages = one["detail"].get("languages")
    if not languages:
        return ""
    told = max(1, one["detail"].get("told", 1))
    shares = ", ".join(f"{name} {100 * many / told:.0f}%" for name, many in list(languages.items())[:5])
    return f" <span class=quiet>{text(shares)}</span>"


def shaped(shown: Mapping[str, Any]) -> str:
    """How many of the first rows went in and came out, and how they look now."""
    split = ", ".join(f"{name} {many:,}" for name, many in shown["split"].items())
    return (
        f'<p class="quiet">Tried on the first {shown["from"]:,} rows: {plural(shown["to"], "row")} came out'
        f"{f' ({text(split)})' if split else ''}.</p>{table(shown['columns'], shown['rows'][:8])}"
    )


def steps(done: Sequence[Mapping[str, Any]]) -> str:
    """The recorded steps in order; the last can be taken back."""
    if not done:
        return '<p class="quiet">No steps yet. Add one; it is tried on the first rows at once.</p>'
    items = "".join(
        f"<li><b>{text(one['do'].replace('_', '-'))}</b> <span class=quiet>{text(_settings(one))}</span> "
        f'<button {_press("remove", step=i)} aria-label="Remove step {i + 1}">×</button></li>'
        for i, one in enumerate(done)
    )
    return f'<ol class="steps">{items}</ol>'


def _settings(one: Mapping[str, Any]) -> str:
    words = []
    for key, value in one.items():
        if key == "filters":
            words.append(" and ".join(map(_said, value)))
        elif key == "columns" and isinstance(value, dict):
            words.append(", ".join(f"{old} → {new}" for old, new in value.items()))
        elif key not in ("do",) and value != "":
            words.append(f"{key} {', '.join(map(str, value)) if isinstance(value, list) else value}"[:120])
    return ", ".join(words)
