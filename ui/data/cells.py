"""One value of a dataset as HTML. Pure; every text that comes from a dataset is escaped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ui.views import plural, text

TREE = 200  # entries of a nested value that are drawn


def size(many: float | None) -> str:
    """`14.2 kB`."""
    if many is None:
        return ""
    for unit in ("B", "kB", "MB", "GB"):
        if many < 1000 or unit == "GB":
            return f"{many:,.0f} B" if unit == "B" else f"{many:,.1f} {unit}"
        many /= 1000
    raise AssertionError


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
