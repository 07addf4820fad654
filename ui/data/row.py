"""One row as a panel: every cell whole, and what can be done with it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ui.data.cells import cell, tree
from ui.data.grid import press, typed
from ui.views import text

SHOWN = 20_000  # characters of a cell


def row(number: int, cells: Mapping[str, Any], columns: Sequence[Mapping[str, Any]], media: Mapping[str, str]) -> str:
    """A row as a panel: every cell whole, ways to the rows beside it, to copy it and to link to it."""
    kinds = {column["name"]: column for column in columns}
    parts = "".join(
        f"<dt>{text(name)} <span class=quiet>{text(typed(kinds[name])[:40])}</span></dt>"
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
        f'<button {press("open", row=number - 1)} aria-label="Row before"{off}>‹</button>'
        f'<button {press("open", row=number + 1)} aria-label="Next row">›</button>{copies}'
        f"<button {press('ask', row=number)}>Ask the model</button>"
        f'<button {press("close")} aria-label="Close">×</button></div><dl>{parts}</dl>'
        f"<pre hidden data-json>{text(as_json)}</pre><pre hidden data-markdown>{text(markdown(cells))}</pre></div>"
    )


def _whole(value: Any, column: Mapping[str, Any], media: str) -> str:
    if isinstance(value, dict | list) and column["kind"] == "nested":
        return tree(value, open_=True)
    return cell(value, column, media, SHOWN)


def markdown(cells: Mapping[str, Any]) -> str:
    """A heading for each column and the value below, as a code block unless it is one line."""
    parts = []
    for name, value in cells.items():
        words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
        fence = "````" if "```" in words else "```"
        block = "\n".join((fence, words, fence)) if "\n" in words else words
        parts.append(f"**{name}**\n\n{block}\n")
    return "\n".join(parts)


def question(cells: Mapping[str, Any]) -> str:
    """A row as a message: what a person said in it where that can be told, else all of it."""
    for value in cells.values():
        if isinstance(value, list) and value and all(isinstance(one, dict) and "content" in one for one in value):
            asked = [one["content"] for one in value if one.get("role") == "user"]
            if asked:
                return str(asked[-1])
    for name in ("prompt", "question", "instruction", "text"):
        if isinstance(cells.get(name), str) and cells[name].strip():
            return str(cells[name])
    return markdown(cells)[:8_000]
