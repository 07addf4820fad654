"""What came of a question: SQL, checks, steps, a search of the Hub. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backend.errors import LabError
from ui.data.cells import cell
from ui.data.grid import press, said
from ui.views import plural, text

SHOWN = 200  # rows of a result on the page


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
        for r in answer["rows"][:SHOWN]
    )
    return (
        f'{summary(answer, SHOWN)}<div class="table-scroll" tabindex="0">'
        f'<table class="data"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>'
    )


def summary(answer: Mapping[str, Any], shown: int) -> str:
    """How many rows, how long it took, and how many of them are `shown`."""
    total = answer.get("total", len(answer["rows"]))
    words = [plural(total, "row") + (" and more; cut here" if answer["truncated"] and "total" not in answer else "")]
    words += [f"{answer['seconds']:.2f} s"]
    if total > shown:
        words.append(f"the first {shown:,} are shown")
    return f'<p class="quiet" id="data-sql-words">{text(" · ".join(words))}</p>'


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
            f'<button {press("open", row=number)} title="Open row {number}">{number}</button>'
            for number in one["sample"][:5]
        )
        show = (
            f'<button {press("filter", filters=one["filters"])} class="chip">Show these rows</button>' if count else ""
        )
        rows = next((f["value"] for f in one["filters"] if f["column"] == "_row" and f["op"] == "in"), None)
        if rows and one["check"] in ("exact", "near", "leaks", "empty"):
            show += f' <button {press("without", rows=list(rows))} class="chip">Leave them out</button>'
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
        f'<button {press("remove", step=i)} aria-label="Remove step {i + 1}">×</button></li>'
        for i, one in enumerate(done)
    )
    return f'<ol class="steps">{items}</ol>'


def _settings(one: Mapping[str, Any]) -> str:
    words = []
    for key, value in one.items():
        if key == "filters":
            words.append(" and ".join(map(said, value)))
        elif key == "columns" and isinstance(value, dict):
            words.append(", ".join(f"{old} → {new}" for old, new in value.items()))
        elif key not in ("do",) and value != "":
            words.append(f"{key} {', '.join(map(str, value)) if isinstance(value, list) else value}"[:120])
    return ", ".join(words)


def trouble(error: LabError) -> str:
    """Why there is nothing to see."""
    return f'<div class="panel panel-error" role="alert"><b>{text(error.message)}</b><p>{text(error.hint)}</p></div>'


# -- the Hub ----------------------------------------------------------------------------------------------------


def repositories(found: Sequence[Mapping[str, Any]]) -> str:
    """What a search of the Hub gave; each can be pressed to open it."""
    if not found:
        return '<p class="quiet">Nothing fits. Take a filter away, or use other words.</p>'
    lines = "".join(
        f'<tr><td><button {press("dataset", name=one["name"])} class="name">{text(one["name"])}</button>'
        f"{' <span class=state>gated</span>' if one['gated'] else ''}"
        f"{' <span class=state>private</span>' if one['private'] else ''}</td>"
        f'<td class="kind-number">{one["downloads"]:,} ↓</td><td class="kind-number">{one["likes"]:,} ♥</td>'
        f"<td class=quiet>{text(', '.join(tag.partition(':')[2] for tag in one['tags'][:3]))}</td>"
        f"<td class=quiet>{text(one['updated'])}</td></tr>"
        for one in found
    )
    return f'<div class="table-scroll"><table class="data findings"><tbody>{lines}</tbody></table></div>'


# -- two answers ------------------------------------------------------------------------------------------------


def pair(told: Mapping[str, Any]) -> str:
    """A prompt with two answers side by side, each a button; the keys are named on them."""
    done = f"{told['chosen']:,} chosen · {told['skipped']:,} skipped · {told['total']:,} rows"
    if told["row"] is None:
        words = f"<b>All rows have a choice.</b> <span class=quiet>{done}</span>"
        return f'<div class="pair" tabindex="0"><p>{words}</p></div>'
    sides = {"left": "second" if told["turned"] else "first", "right": "first" if told["turned"] else "second"}
    cards = "".join(
        f'<button {press("choose", row=told["row"], choice=column)} class="answer" data-key="{key}">'
        f"<kbd>{sign}</kbd>{_answer(told[side])}</button>"
        for (side, column), key, sign in zip(sides.items(), ("ArrowLeft", "ArrowRight"), "←→", strict=True)
    )
    prompt = f'<div class="asked">{_answer(told["prompt"])}</div>' if told["prompt"] != "" else ""
    ways = (
        f'<button {press("choose", row=told["row"], choice="skip")} data-key="ArrowDown"><kbd>↓</kbd> Skip</button>'
        f'<button {press("choose", row=told["row"], choice="undo")} data-key="ArrowUp"><kbd>↑</kbd> Take back</button>'
    )
    return (
        f'<div class="pair" tabindex="0" aria-label="Choose the better answer with the arrow keys">{prompt}'
        f'<div class="answers">{cards}</div><div class="pager">{ways}'
        f"<span>Row {told['row']:,} · {done}</span></div></div>"
    )


def _answer(value: Any) -> str:
    return cell(value, {"name": "", "kind": "chat" if isinstance(value, list) else "text"}, most=8_000)


def waiting(state: str, status: Mapping[str, Any]) -> str:
    """A run of checks that has no findings yet."""
    far = status.get("progress") or {}
    part = f" · {far['done']:.0f} of {far['total']:.0f} {far['unit']}" if far.get("total") else ""
    error = status.get("error")
    why = f" {text(error['message'])} {text(error['hint'])}" if error else ""
    return (
        f'<p class="quiet">Run {text(status.get("id", ""))}: {text(state)}{part}.{why} It goes on when the page is '
        "closed; find it under Runs of checks.</p>"
    )
