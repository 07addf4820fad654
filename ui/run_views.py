"""One run as HTML: how it stands, its log, its answers, what it made. Pure; everything from outside is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from backend import events as ev
from backend.recipes import PICTURES
from ui import charts, picture_views
from ui.folding import View
from ui.views import (
    LIVING,
    NAMES,
    badge,
    bar,
    duration,
    figure,
    link,
    number,
    plain,
    progress_words,
    short,
    size,
    text,
    what,
    when,
)

LOG_PANE = """<div class="log-tools"><input type="search" placeholder="Search the log" aria-label="Search the log">
<select aria-label="Which lines"><option value="all">All lines</option><option value="told">No output</option>
<option value="trouble">Warnings and errors</option></select>
<label><input type="checkbox" checked> Follow</label><span class="quiet many"></span></div>
<div class="log" tabindex="0" role="log" aria-label="Log"></div>"""


def header(status: Mapping[str, Any], view: View) -> str:
    """Recipe, dataset, model, state, progress, times, latest figures, and what went wrong."""
    params = status["params"]
    model, dataset = str(params.get("model") or ", ".join(params.get("models", []))), str(params.get("dataset", ""))
    times = [f"asked for {when(status['created'])}"]
    if status["started"]:
        times = [f"started {when(status['started'])}"]
    if status["ended"] and status["state"] not in LIVING:
        took = duration(status["ended"] - status["started"]) if status["started"] else ""
        times.append(f"ended {when(status['ended'])}{f' after {took}' if took else ''}")
    if status["parent"]:
        times.append(f"from run {link(status['parent'])}")
    title = f"{what(status)} on {short(dataset)}" if dataset else what(status)
    return (
        f'<div class="run-head"><h2>{text(title)}</h2>{badge(status)}'
        f'<span class="run-id">run {text(status["id"])}</span></div>'
        f'<div class="quiet">{" · ".join([*(text(one) for one in (model, dataset) if one), *times])}</div>'
        f'{bar(status)}<div class="run-progress">{text(progress_words(status))}</div>'
        f"{figures(status)}{tried(status)}{trouble(status, view)}"
    )


def figures(status: Mapping[str, Any]) -> str:
    """The latest value of each figure, those people know first."""
    values = status["metrics"]
    order = [name for name in NAMES if name in values] + sorted(name for name in values if name not in NAMES)
    cells = "".join(
        f"<span><b>{text(number(name, values[name]))}</b> {text(figure(name))}</span>" for name in order[:8]
    )
    return f'<div class="figures" id="run-figures">{cells}</div>' if cells else ""


def tried(status: Mapping[str, Any]) -> str:
    """What a dry run found."""
    values = status["metrics"]
    if not status["params"].get("dry_run") or "seconds_per_step" not in values:
        return ""
    return (
        f'<div class="panel" id="run-tried"><b>It took {values["memory_gb"]:.2f} GB at most and '
        f"{values['seconds_per_step']:.3g} s a step, on the longest rows.</b><p>Nothing of it is kept. The step Where "
        "tells by it from now on what such a run takes; Clone and edit leads back there.</p></div>"
    )


def trouble(status: Mapping[str, Any], view: View) -> str:
    """The error of a failed run, or a loss that is no longer a number."""
    if error := status["error"]:
        return (
            f'<div class="panel panel-error" role="alert" id="run-error"><b>{text(error["message"])}</b>'
            f"<p>{text(error['hint'])}</p></div>"
        )
    loss = view.series.get("loss")
    if loss is not None and loss.bad is not None:
        return (
            f'<div class="panel panel-warning" role="status">The loss is not a number since step {loss.bad}. '
            "Stop, and clone with a smaller learning rate.</div>"
        )
    return ""


def log(view: View, after: int = 0) -> dict[str, Any]:
    """The lines of the log that a page which has `after` of them lacks, as `LOG` wants them."""
    lines = view.tail(after)
    return {
        "from": view.lines - len(lines),
        "lines": [[datetime.fromtimestamp(one.at, UTC).isoformat(), one.level, one.text] for one in lines],
        "fresh": after == 0,
    }


def family(relatives: Sequence[Mapping[str, Any]], shown: str) -> str:
    """What led to a run and what came of it, from left to right; nothing when it stands alone."""
    if len(relatives) < 2:
        return ""
    depth: dict[str, int] = {}
    for one in relatives:  # the oldest first, so sources come before what was made of them
        depth[one["id"]] = 1 + max((depth.get(source, 0) for source in one["sources"]), default=0)
    columns = [[one for one in relatives if depth[one["id"]] == level] for level in sorted(set(depth.values()))]
    drawn = "<span class=arrow>→</span>".join(
        f'<div class="generation">{"".join(_relative(one, shown) for one in column)}</div>' for column in columns
    )
    return f'<nav class="family" aria-label="Where it comes from">{drawn}</nav>'


def _relative(one: Mapping[str, Any], shown: str) -> str:
    title = what({"recipe": one["recipe"], "params": {"adapter": one["adapter"]}})
    whys = ", ".join(f"{_WHY.get(why, figure(why).lower())} {source}" for source, why in one["sources"].items())
    name = f"<b>{text(title)}</b> {text(one['id'])}"
    head = (
        f"<span>{name}</span>"
        if one["id"] == shown
        else f'<a href="?run={text(one["id"])}" data-run="{text(one["id"])}">{name}</a>'
    )
    return (
        f'<div class="relative state-{text(one["state"])}{" here" if one["id"] == shown else ""}">{head}'
        f'<span class="quiet">{text(" · ".join(filter(None, (short(one["dataset"]), whys))))}</span></div>'
    )


_WHY = {"clone": "cloned from", "start_from": "goes on from", "reward": "rewarded by"}


def full_log(events: Iterable[ev.Event]) -> str:
    """Every line of a run as text, with UTC times."""
    view = View()
    lines = []
    for event in events:
        view.log.clear()
        view.add(event)
        lines += [
            f"{datetime.fromtimestamp(one.at, UTC):%Y-%m-%d %H:%M:%S} {one.level:7} {one.text}" for one in view.log
        ]
        if isinstance(event, ev.Measured):
            values = " ".join(f"{name}={number(name, value)}" for name, value in event.values.items())
            lines.append(
                f"{datetime.fromtimestamp(event.at, UTC):%Y-%m-%d %H:%M:%S} measure step {event.step} {values}"
            )
    return "\n".join(lines) + "\n"


def samples(view: View) -> str:
    """Watch it learn: for each prompt the reference, what the base said and what the model said at each checkpoint.

    A run that only answers has neither reference nor base, and there is nothing to learn.
    """
    if not view.samples:
        return ""
    steps = list(view.samples)
    newest = view.samples[steps[-1]]
    if any("picture" in row for row in newest):
        return picture_views.samples(view.samples)
    learns = any("base" in row for row in newest)
    cards = []
    for row in newest:
        prompt = row.get("prompt", "")
        said = [(step, _answer(view.samples[step], prompt)) for step in steps]
        lines = [("Should be", row.get("reference") or None, "should"), ("Base", row.get("base"), "base")]
        lines += [
            (f"Step {step:,}" if learns else "Answer", answer, "now" if step == steps[-1] else "then")
            for step, answer in said
        ]
        body = "".join(
            f'<div class="said said-{kind}"><dt>{text(name)}</dt><dd>{text(answer) or "<i>nothing</i>"}</dd></div>'
            for name, answer, kind in lines
            if answer is not None
        )
        cards.append(f'<article class="sample"><p>{text(prompt)}</p><dl>{body}</dl></article>')
    title = "Watch it learn" if learns else "The first answers"
    return f'<h3>{title}</h3><div class="samples">{"".join(cards)}</div>'


def _answer(rows: Sequence[Mapping[str, Any]], prompt: str) -> str | None:
    return next((row.get("answer", "") for row in rows if row.get("prompt") == prompt), None)


def artifacts(status: Mapping[str, Any]) -> str:
    """What the run made; checkpoints on one line."""
    rows = [row for row in status["artifacts"] if row["kind"] != "samples"]
    if not rows:
        return '<p class="quiet">Nothing is saved yet.</p>'
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        kinds.setdefault(row["kind"], []).append(row)
    titles = {kind: PICTURES[kind].title if kind in PICTURES else kind.capitalize() for kind in kinds}
    items = "".join(f"<li><b>{text(titles[kind])}</b> {_made(made)}</li>" for kind, made in kinds.items())
    return f'<ul class="artifacts">{items}</ul>'


def _made(rows: Sequence[Mapping[str, Any]]) -> str:
    names = ", ".join(text(row["name"] or row["file"]) for row in rows[-6:] if row["name"] != row["kind"])
    return f"{names} <span class=quiet>step {rows[-1]['step']:,}</span>"


def holds(files: Sequence[Mapping[str, Any]]) -> str:
    """What a zip or a push has in it."""
    names = ", ".join(f"{text(one['name'])} <span class=quiet>{size(one['bytes'])}</span>" for one in files[:12])
    more = f" and {len(files) - 12} more" if len(files) > 12 else ""
    return f'<p class="quiet">The zip, and what is pushed, hold {names}{more}.</p>'


def sweep(runs: Sequence[Mapping[str, Any]], curves: Mapping[str, Mapping[str, charts.Curve]]) -> str:
    """The runs of a sweep: one picture for each figure that tells them apart, and a table that opens them."""
    if len(runs) < 2:
        return ""
    names = sorted({name for one in runs for name in one["params"]})
    varied = [name for name in names if len({str(one["params"].get(name)) for one in runs}) > 1]
    titles = {one["id"]: ", ".join(plain(one["params"].get(name)) for name in varied) for one in runs}
    pictures = ""
    for name in ("loss", "eval_loss", "reward", "rewards/accuracies", "accuracy"):
        if drawn := {titles[one]: found[name] for one, found in curves.items() if found.get(name)}:
            pictures += charts.draw(f"sweep-{name.replace('/', '-')}", figure(name), drawn, name)
    set_to = {one["id"]: "".join(f"<td>{text(plain(one['params'].get(name)))}</td>" for name in varied) for one in runs}
    rows = "".join(
        f"<tr><td>{link(one['id'])}</td>{set_to[one['id']]}"
        f"<td>{badge(one)}</td><td>{text(number('eval_loss', one['metrics'].get('eval_loss', '–')))}</td></tr>"
        for one in runs
    )
    head = "".join(f"<th>{text(name)}" for name in varied)
    table = f"<table class=grid><thead><tr><th>run{head}<th>state<th>eval loss</tr></thead>{rows}</table>"
    said = f"The sweep: {', '.join(varied)}"
    return f'<h3>{text(said)}</h3><div class="charts">{pictures}</div><div class="grid-scroll">{table}</div>'


def settings(status: Mapping[str, Any]) -> str:
    """The job's params, and what the run found out about where it works."""
    found = {key: value for key, value in status["info"].items() if key not in status["params"]}
    return _pairs(status["params"]) + (f"<h4>Found at the start</h4>{_pairs(found)}" if found else "")


def _pairs(values: Mapping[str, Any]) -> str:
    rows = "".join(f"<div><dt>{text(key)}</dt><dd>{text(plain(value))}</dd></div>" for key, value in values.items())
    return f'<dl class="settings">{rows}</dl>'
