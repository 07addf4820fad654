"""An evaluation as HTML: figures with intervals, verdicts, slices, confusion, rows side by side. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ui import views

LONG = 1200  # characters of an answer shown before it is cut
Told = Mapping[str, Any]


def amount(one: Told, key: str = "value") -> str:
    """A figure as a person reads it, with its unit."""
    value = one[key]
    if value is None:
        return "–"
    if one["unit"] == "%":
        return f"{100 * value:.1f} %"
    if one["unit"] == "$":
        return f"$ {value:.3g}"
    shown = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"
    return f"{shown} {one['unit']}".rstrip()


def bare(one: Told, key: str) -> str:
    """The same without the unit, for bounds."""
    return amount(one, key).removesuffix(" %").removeprefix("$ ").removesuffix(f" {one['unit']}")


def head(told: Told) -> str:
    """What was measured on what; it carries the id, by which the address follows what is shown."""
    name = told["name"] or told["dataset"]
    failed = len(told["failed"]) + len(told["unasked"])
    parts = [views.plural(told["rows"], "row"), views.when(told.get("at"))]
    if failed:
        parts.append(f"<b>{views.plural(failed, 'row')} failed</b>")
    quiet = f"{views.text(told['dataset'])} · " if told["name"] else ""
    line = quiet + " · ".join(part for part in parts if part)
    return f'<h2 data-evaluation="{told["id"]}">{views.text(name)}</h2><p class="quiet">{line}</p>'


def summary(told: Told) -> str:
    """Models × figures with intervals; where there are two or more, what can be said of their difference."""
    if not told["figures"]:
        return '<p class="empty">No row could be counted. The run has the reasons.</p>'
    names = [one["name"] for one in told["models"]]
    figures = list({one["figure"]: one for one in told["figures"]}.values())
    by = {(one["figure"], one["model"]): one for one in told["figures"]}
    heads = "".join(f'<th scope="col">{titled(name)}</th>' for name in names)
    lines = "".join(
        _line(one, names, [by[one["figure"], model] for model in range(len(names))], told["pairs"]) for one in figures
    )
    verdicts = '<th scope="col">Difference</th>' if len(names) == 2 else ""
    table = (
        f'<table class="figures-table"><thead><tr><td></td>{heads}{verdicts}</tr></thead><tbody>{lines}</tbody></table>'
    )
    more = _pairs(told) if len(names) > 2 else ""
    note = '<p class="quiet">In brackets: the 95 % interval. n is the number of rows counted.</p>' + took(told)
    return f'<div class="scrolls" tabindex="0">{table}</div>{note}{more}'


def _line(figure: Told, names: Sequence[str], models: Sequence[Told], pairs: Sequence[Told]) -> str:
    better = "" if figure["higher"] is None else "higher is better" if figure["higher"] else "lower is better"
    cells = "".join(
        f'<td data-of="{views.text(called(name))}">{spanned(one, models)}</td>'
        for name, one in zip(names, models, strict=True)
    )
    pair = next((one for one in pairs if one["figure"] == figure["figure"]), None)
    if len(models) == 2:
        cells += f"<td>{_verdict(pair) if pair else ''}</td>"
    return f'<tr><th scope="row">{views.text(figure["title"])}<small>{better}</small></th>{cells}</tr>'


def spanned(one: Told, models: Sequence[Told]) -> str:
    """A value, its interval in words and as a bar; the bars of a line share a scale."""
    seeds = _seeds(one)
    if one["low"] is None:
        return f"<b>{amount(one)}</b><small>n = {one['n']:,}{seeds}</small>"
    ends = [other[key] for other in models for key in ("low", "high") if other[key] is not None]
    low, high = (0.0, 1.0) if one["unit"] == "%" else (min(0.0, *ends), max(ends))
    span = (high - low) or 1.0
    left, right, at = (100 * (one[key] - low) / span for key in ("low", "high", "value"))
    span_of = f'<i class="span" style="left:{left:.1f}%;width:{max(right - left, 0.5):.1f}%"></i>'
    mark = f'{span_of}<i class="at" style="left:{at:.1f}%"></i>'
    return (
        f"<b>{amount(one)}</b> <span>[{bare(one, 'low')}, {bare(one, 'high')}]</span>"
        f'<div class="interval" aria-hidden="true">{mark}</div><small>n = {one["n"]:,}{seeds}</small>'
    )


def _seeds(one: Told) -> str:
    """How far apart the figures of single seeds are."""
    values = [value for value in one.get("seeds", []) if value is not None]
    if len(values) < 2:
        return ""
    low, high = (amount({**one, "value": value}) for value in (min(values), max(values)))
    return f" · {len(one['seeds'])} seeds, {low} to {high}"


def took(told: Told) -> str:
    """What each model took: time, memory, money."""
    parts = []
    for one in told["models"]:
        known = [
            views.duration(one["seconds"]) if one.get("seconds") else "",
            f"{one['memory_gb']:.2g} GB" if one.get("memory_gb") else "",
            f"$ {one['dollars']:.3g}" if one.get("dollars") is not None else "",
        ]
        if any(known):
            parts.append(f"{views.text(called(one['name']))} took {', '.join(word for word in known if word)}")
    return f'<p class="quiet">{"; ".join(parts)}.</p>' if parts else ""


def tone(pair: Told) -> str:
    """better, worse, other or unsure: what the verdict begins with."""
    word = pair["verdict"].partition(",")[0].lower()
    return word if word in ("better", "worse") else "other" if word in ("more", "less") else "unsure"


def _verdict(pair: Told) -> str:
    p = pair["p_adjusted"]
    shown = "" if p is None else "p &lt; 0.001" if p < 0.001 else f"p = {p:.2g}"
    counts = f"{pair['wins']:,} won, {pair['ties']:,} even, {pair['losses']:,} lost"
    return f'<b class="verdict {tone(pair)}">{views.text(pair["verdict"])}</b><small>{shown} · {counts}</small>'


def _pairs(told: Told) -> str:
    """Which models differ, for each figure."""
    names = [one["name"] for one in told["models"]]
    lines = "".join(
        f"<tr><th scope=row>{views.text(pair['title'])}</th><td>{titled(names[pair['b']])} beside "
        f"{titled(names[pair['a']])}</td><td>{_verdict(pair)}</td></tr>"
        for pair in told["pairs"]
    )
    note = "p is corrected for the number of comparisons (Holm)."
    table = f'<table class="figures-table">{lines}</table>'
    return f'<div class="scrolls" tabindex="0">{table}</div><p class="quiet">{note}</p>'


def called(name: str) -> str:
    """A model's name in few words."""
    return name if name.startswith("run/") else views.short(name)


def titled(name: str) -> str:
    """The same, with the whole name at hand."""
    return f'<span title="{views.text(name)}">{views.text(called(name))}</span>'


def slices(told: Told, figure: str) -> str:
    """One figure for each value of each column, every model a bar."""
    mine = [one for one in told["slices"] if one["figure"] == figure]
    about = next((one for one in told["figures"] if one["figure"] == figure), None)
    if not mine or about is None:
        return '<p class="quiet">No column tells the rows apart.</p>'
    names, parts = [one["name"] for one in told["models"]], []
    for column in dict.fromkeys(one["column"] for one in mine):
        lines = []
        for value in dict.fromkeys(one["slice"] for one in mine if one["column"] == column):
            models = [one | {"unit": about["unit"]} for one in mine if (one["column"], one["slice"]) == (column, value)]
            cells = "".join(
                f'<td data-of="{views.text(called(names[one["model"]]))}">'
                f"{spanned(one, models) if one['n'] else '–'}</td>"
                for one in models
            )
            lines.append(f"<tr><th scope=row>{views.text(value)}</th>{cells}</tr>")
        heads = "".join(f"<th scope=col>{titled(name)}</th>" for name in names)
        parts.append(
            f'<div class="scrolls" tabindex="0"><table class="figures-table"><thead><tr><th scope="col">'
            f"{views.text(column)}</th>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
        )
    return "".join(parts) + '<p class="quiet">Small slices say little: mind the intervals.</p>'


def confusion(told: Told) -> str:
    """Rows by reference and answer; a cell opens its rows."""
    if not told["confusion"]:
        return ""
    parts = []
    for one in told["confusion"]:
        most = max(1, *(count for line in one["counts"] for count in line))
        heads = "".join(f"<th scope=col>{views.text(name)}</th>" for name in one["answers"])
        lines = "".join(
            f"<tr><th scope=row>{views.text(name)}</th>"
            + "".join(
                f'<td style="--share:{count / most:.2f}" class="{"hit" if name == other else ""}">'
                + (_cell(one["model"], name, other, count) if count else "")
                + "</td>"
                for other, count in zip(one["answers"], line, strict=True)
            )
            + "</tr>"
            for name, line in zip(one["labels"], one["counts"], strict=True)
        )
        caption = f"{titled(told['models'][one['model']]['name'])}: rows are references, columns answers"
        table = f'<table class="confusion"><thead><tr><td></td>{heads}</tr></thead><tbody>{lines}</tbody></table>'
        body = f'<div class="scrolls" tabindex="0">{table}</div>'
        parts.append(f"<figure><figcaption>{caption}</figcaption>{body}</figure>")
    return "".join(parts)


def _cell(model: int, reference: str, answer: str, count: int) -> str:
    return (
        f'<button data-model="{model}" data-reference="{views.text(reference)}" data-answer="{views.text(answer)}" '
        f'title="{views.text(reference)} answered as {views.text(answer)}">{count:,}</button>'
    )


def examples(told: Told, page: Told, figure: str, offset: int) -> str:
    """Rows with the reference and every model's answer side by side; words that the reference lacks are marked."""
    if not page["rows"]:
        return '<p class="empty">No row is like that.</p>'
    names = [one["name"] for one in told["models"]]
    about = next((one for one in told["figures"] if one["figure"] == figure), {"unit": ""})
    last = offset + len(page["rows"])
    head = f'<p class="quiet">{offset + 1:,} to {last:,} of {views.plural(page["total"], "row")}</p>'
    return head + "".join(_example(row, names, about["unit"]) for row in page["rows"])


def _example(row: Told, names: Sequence[str], unit: str) -> str:
    of = " · ".join(f"{views.text(key)}: {views.text(value)}" for key, value in row["of"].items() if value is not None)
    sides = "".join(_side(name, one, row["reference"], unit) for name, one in zip(names, row["answers"], strict=True))
    wanted = f"<div><h4>Reference</h4><p>{views.text(_cut(row['reference']))}</p></div>" if row["reference"] else ""
    where = f"row {row['row']:,}{f' · {of}' if of else ''}"
    head = f"<header><b>{views.text(_cut(row['prompt']))}</b><small>{where}</small></header>"
    return f'<article class="example">{head}<div class="sides">{wanted}{sides}</div></article>'


def _side(name: str, one: Told, reference: str, unit: str) -> str:
    if one["error"]:
        return f'<div class="failed"><h4>{titled(name)}</h4><p>{views.text(one["error"])}</p></div>'
    score = _score(one["score"], unit)
    return f"<div><h4>{titled(name)} <small>{score}</small></h4><p>{words(one['answer'] or '', reference)}</p></div>"


def _score(score: float | None, unit: str) -> str:
    """What a row scored; right and wrong as a sign."""
    if score is None:
        return ""
    if unit == "%" and score in (0, 1):
        return '<span title="right">✓</span>' if score else '<span title="wrong">✗</span>'
    return amount({"unit": unit, "value": score})


def words(answer: str, reference: str) -> str:
    """The answer with the words marked that the reference does not have in their place."""
    said = re.findall(r"\s+|\w+|[^\w\s]", _cut(answer))
    if not reference:
        return views.text("".join(said))
    wanted = re.findall(r"\s+|\w+|[^\w\s]", _cut(reference))
    parts = []
    for kind, begin, end, *_ in difflib.SequenceMatcher(None, said, wanted, autojunk=False).get_opcodes():
        piece = views.text("".join(said[begin:end]))
        if piece:
            parts.append(piece if kind == "equal" or not piece.strip() else f"<mark>{piece}</mark>")
    return "".join(parts) or '<span class="quiet">(nothing)</span>'


def _cut(text: str) -> str:
    return text if len(text) <= LONG else text[:LONG] + "…"


def history(evaluations: Sequence[Told], shown: str) -> str:
    """All evaluations, each a button; the star pins."""
    if not evaluations:
        return '<p class="quiet">What you evaluate is kept here.</p>'
    return f'<ul class="evaluations">{"".join(_kept(one, one["id"] == shown) for one in evaluations)}</ul>'


def _kept(one: Told, chosen: bool) -> str:
    first = next(iter(one["figures"]), None)
    mine = [figure for figure in one["figures"] if first and figure["figure"] == first["figure"]]
    best = " → ".join(amount(figure) for figure in mine)
    line = f"{views.text(first['title'])} {best}" if first else "no figures"
    names = ", ".join(name if name.startswith("run/") else views.short(name) for name in one["models"])
    current = ' aria-current="true"' if chosen else ""
    star = "★" if one["pinned"] else "☆"
    word = "Unpin" if one["pinned"] else "Pin"
    return (
        f'<li><button class="open" data-open="{one["id"]}"{current}><b>{views.text(one["name"] or one["dataset"])}</b>'
        f"<small>{views.text(names)}</small><small>{line}</small><small>{views.plural(one['rows'], 'row')} · "
        f"{views.when(one['created'])}</small></button>"
        f'<button class="pin" data-pin="{one["id"]}" aria-label="{word}" title="{word}">{star}</button></li>'
    )


def progress(status: Told, acts: bool = False) -> str:
    """An evaluation that is under way, or how it ended without results; with `acts` what its owner can do about it."""
    error, doing = status["error"], ""
    if acts:
        act = "stop" if status["state"] in views.LIVING else "resume"
        title = {"stop": "Stop; what was answered is kept", "resume": "Resume"}[act]
        buttons = f'<button class="fix" data-act="{act}" data-of="{status["id"]}">{title}</button>'
        buttons += f' <button class="fix" data-act="open" data-of="{status["id"]}">Open the run</button>'
        doing = f"<p>{buttons}</p>"
    if error:
        said = f"<b>{views.text(error['message'])}</b><p>{views.text(error['hint'])}</p>"
        return f'<div class="panel panel-error" role="alert">{said}{doing}</div>'
    return f"{views.badge(status)} {views.text(views.progress_words(status))}{views.bar(status)}{doing}"


def metric(name: str, about: Any) -> str:
    """What a metric says and when not to trust it."""
    return (
        f"<dt>{views.text(about.title)} <code>{views.text(name)}</code></dt><dd>{views.text(about.says)} "
        f'<span class="quiet">{views.text(about.beware)}</span></dd>'
    )


def glossary(metrics: Mapping[str, Any]) -> str:
    return f'<dl class="metrics">{"".join(metric(name, one) for name, one in metrics.items())}</dl>'
