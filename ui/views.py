"""Folds a run's events into what a person sees: series, log, samples, words and HTML. Pure: no gradio, no files.

A View's memory is bounded whatever the run does: at most POINTS points a series, SERIES series, LINES lines of
WIDTH characters, CHECKPOINTS sets of sample answers. Every text that comes from a run, a model or a dataset is escaped.
"""

from __future__ import annotations

import html
import json
import math
import threading
import zlib
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from backend import events as ev

POINTS, SERIES, LINES, WIDTH, CHECKPOINTS = 500, 40, 500, 2_000, 12
ROWS = 8  # sample answers shown of one checkpoint
LIVING = ("queued", "running", "stopping")
WORDS = {
    "queued": "Queued",
    "running": "Running",
    "paused": "Paused",
    "stopping": "Stopping",
    "finished": "Finished",
    "failed": "Failed",
    "cancelled": "Cancelled",
}
NAMES = {  # how the figures people meet most are called and written
    "loss": ("Loss", "{:.4g}"),
    "eval_loss": ("Eval loss", "{:.4g}"),
    "learning_rate": ("Learning rate", "{:.3g}"),
    "tokens_per_second": ("Tokens/s", "{:,.0f}"),
    "rows_per_second": ("Rows/s", "{:.2f}"),
    "grad_norm": ("Gradient norm", "{:.3g}"),
    "epoch": ("Epoch", "{:.2f}"),
    "train_loss": ("Mean loss", "{:.4g}"),
    "mean_token_accuracy": ("Token accuracy", "{:.1%}"),
}


class Series:
    """A curve in at most POINTS points: when there are more, neighbours become their mean."""

    def __init__(self) -> None:
        self.every = 1  # values a point stands for
        self.taken = 0  # changes whenever the curve does
        self.bad: int | None = None  # the first step whose value was not a number
        self._points: list[list[float]] = []  # [last step, sum, count]

    def add(self, step: int, value: float) -> None:
        self.taken += 1
        if not math.isfinite(value):
            self.bad = step if self.bad is None else self.bad
            return
        if self._points and self._points[-1][2] < self.every:
            last = self._points[-1]
            last[0], last[1], last[2] = step, last[1] + value, last[2] + 1
            return
        self._points.append([step, value, 1])
        if len(self._points) > POINTS:
            pairs = [self._points[i : i + 2] for i in range(0, len(self._points), 2)]
            self._points = [[pair[-1][0], sum(p[1] for p in pair), sum(p[2] for p in pair)] for pair in pairs]
            self.every *= 2

    def cut(self, step: int) -> None:
        """Forget what came after `step`: a resumed run does those steps again."""
        self.taken += 1
        while self._points and self._points[-1][0] > step:
            self._points.pop()
        if self.bad is not None and self.bad > step:
            self.bad = None

    def points(self) -> list[tuple[int, float]]:
        """(step, value), in order."""
        return [(int(step), total / count) for step, total, count in self._points]


@dataclass(frozen=True)
class Line:
    """One line of the log."""

    at: float
    level: str
    text: str


@dataclass
class View:
    """The fold of one run's events, and the cursor up to which they were read."""

    cursor: int = 0
    series: dict[str, Series] = field(default_factory=dict)
    log: deque[Line] = field(default_factory=lambda: deque(maxlen=LINES))
    lines: int = 0  # lines there were in all
    measured: int = 0
    samples: OrderedDict[int, list[dict[str, Any]]] = field(default_factory=OrderedDict)  # by step
    drawn: int = 0  # sets of samples taken in
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)  # held while it is brought up to date

    def add(self, event: ev.Event) -> None:
        """Take one more event in."""
        match event:
            case ev.Measured():
                self.measured += 1
                for name, value in event.values.items():
                    self._measure(event.step, name, value)
            case ev.Wrote():
                self._write(event.at, "plain", event.text)
            case ev.Logged():
                self._write(event.at, event.level, event.text)
            case ev.Started():
                for series in self.series.values():
                    series.cut(event.step)
                where = ", ".join(f"{value}" for key, value in event.info.items() if key in ("device", "precision"))
                what = f"Went on from step {event.step}" if event.step else "Started"
                self._write(event.at, "mark", f"{what}{f' on {where}' if where else ''}.")
            case ev.Produced():
                self._produced(event)
            case ev.Failed():
                self._write(event.at, "error", f"Failed: {event.message} {event.hint}".strip())
            case ev.Paused():
                self._write(event.at, "mark", f"Paused at step {event.step}: {event.reason or 'everything is saved'}.")
            case ev.Cancelled():
                self._write(event.at, "mark", f"Cancelled{f': {event.reason}' if event.reason else ''}.")
            case ev.Finished():
                self._write(event.at, "mark", "Finished.")

    def _measure(self, step: int, name: str, value: Any) -> None:
        if name not in self.series and len(self.series) >= SERIES:
            return
        if (number := _number(value)) is not None:
            self.series.setdefault(name, Series()).add(step, number)

    def _produced(self, event: ev.Produced) -> None:
        if event.kind == "samples":
            rows = [row for row in event.data.get("rows", []) if isinstance(row, dict)]
            self.samples[event.step] = [{str(k): str(v)[:WIDTH] for k, v in row.items()} for row in rows[:ROWS]]
            self.samples.move_to_end(event.step)
            self.drawn += 1
            while len(self.samples) > CHECKPOINTS:  # the first answers stay: they are what was learned from
                del self.samples[list(self.samples)[1]]
        else:
            name = "" if event.name == event.kind else f" {event.name or event.file}"
            self._write(event.at, "mark", f"Saved {event.kind}{name}{f' at step {event.step}' if event.step else ''}.")

    def _write(self, at: float, level: str, text: str) -> None:
        for line in text.rstrip().split("\n"):
            line = line.rpartition("\r")[2].rstrip()  # a progress bar: what it shows last
            if line:
                self.lines += 1
                self.log.append(Line(at, level, line if len(line) <= WIDTH else line[:WIDTH] + "…"))


class Views:
    """The views of the `size` runs looked at last; a look reads only what is new in the log.

    `watch(run, owner, after)` gives events and the next cursor (Lab.watch); it is asked every time, so it is what
    says whether `owner` may look.
    """

    def __init__(self, watch: Callable[[str, str, int], tuple[Sequence[ev.Event], int]], size: int = 32) -> None:
        self._watch = watch
        self._size = size
        self._held: OrderedDict[str, View] = OrderedDict()
        self._lock = threading.Lock()

    def look(self, run_id: str, owner: str) -> View:
        """The view of everything up to now. Raises what `watch` raises."""
        with self._lock:
            view = self._held.setdefault(run_id, View())
            self._held.move_to_end(run_id)
            while len(self._held) > self._size:
                self._held.popitem(last=False)
        with view.lock:
            while True:
                events, cursor = self._watch(run_id, owner, view.cursor)
                if cursor == view.cursor:
                    return view
                view.cursor = cursor
                for event in events:
                    view.add(event)


def _number(value: Any) -> float | None:
    """A float; one that is not finite travels as text, and other text is no number."""
    if isinstance(value, str):
        return float(value) if value in ("nan", "inf", "-inf") else None
    return float(value) if isinstance(value, int | float) else None


def columns(view: View, names: Sequence[str]) -> dict[str, list[Any]]:
    """Columns step, value and series, for a plot of the series `names`.

    A series without points has one row without a value: a plot takes its legend from the first table it gets.
    """
    curves = {name: view.series[name].points() if name in view.series else [] for name in names}
    start = min((points[0][0] for points in curves.values() if points), default=None)
    if start is None:
        return {"step": [], "value": [], "series": []}
    table: dict[str, list[Any]] = {"step": [], "value": [], "series": []}
    for name, points in curves.items():
        table["step"] += [step for step, _ in points] or [start]
        table["value"] += [value for _, value in points] or [None]
        table["series"] += [figure(name)] * max(1, len(points))
    return table


def mark(*parts: Any) -> int:
    """A small number that changes when `parts` do, so that what a page has already is not sent again."""
    return zlib.crc32(json.dumps(parts, default=str).encode())


# -- words ------------------------------------------------------------------------------------------------------


def text(value: Any) -> str:
    """`value` as HTML text or attribute."""
    return html.escape(str(value))


def figure(name: str) -> str:
    """What a measured value is called."""
    return NAMES[name][0] if name in NAMES else name.replace("_", " ").replace("/", " · ").capitalize()


def number(name: str, value: Any) -> str:
    """A measured value in words; `not a number` when it is none."""
    amount = _number(value)
    if amount is None:
        return str(value)
    if not math.isfinite(amount):
        return "not a number" if math.isnan(amount) else "infinite"
    return (NAMES[name][1] if name in NAMES else "{:.4g}").format(amount)


def duration(seconds: float | None) -> str:
    """`45 s`, `3 min 05 s`, `2 h 10 min`, `3 d 4 h`."""
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def when(at: float | None) -> str:
    """A moment as <time>, in UTC; the page shows it in the visitor's own time."""
    if at is None:
        return ""
    moment = datetime.fromtimestamp(at, UTC)
    return f'<time datetime="{moment:%Y-%m-%dT%H:%M:%SZ}">{moment:%Y-%m-%d %H:%M} UTC</time>'


def plural(many: float, noun: str) -> str:
    """`1 epoch`, `2.5 epochs`, `1,200 rows`."""
    amount = f"{many:,.10g}"
    return f"{amount} {noun}" if amount == "1" else f"{amount} {noun}s"


def state_words(status: Mapping[str, Any]) -> str:
    """`Running`, or `Queued: 1 run before yours`."""
    if status["state"] == "queued" and (ahead := status.get("ahead")) is not None:
        return f"Queued: {plural(ahead, 'run')} before yours" if ahead else "Queued: yours is next"
    return WORDS.get(status["state"], status["state"])


def progress_words(status: Mapping[str, Any]) -> str:
    """`step 12 of 165 · 3 min 05 s left`."""
    progress = status["progress"]
    if not progress["total"]:
        return ""
    unit = str(progress["unit"]).rstrip("s")
    parts = [f"{unit} {progress['done']:,.0f} of {progress['total']:,.0f}"]
    if status["state"] == "running" and progress["eta"] is not None:
        parts.append(f"{duration(progress['eta'])} left")
    return " · ".join(part for part in parts if part)


def share(status: Mapping[str, Any]) -> float:
    """How much is done, 0 to 1."""
    progress = status["progress"]
    if status["state"] == "finished":
        return 1.0
    return min(1.0, max(0.0, progress["done"] / progress["total"])) if progress["total"] else 0.0


def short(name: str) -> str:
    """The last part of a model's or dataset's name."""
    return str(name).rstrip("/").rpartition("/")[2] or str(name)


def what(status: Mapping[str, Any]) -> str:
    """`SFT · LoRA` for a run."""
    adapter = str(status["params"].get("adapter", ""))
    return " · ".join(part for part in (str(status["recipe"]).upper(), ADAPTERS.get(adapter, adapter)) if part)


ADAPTERS = {
    "lora": "LoRA",
    "qlora": "QLoRA",
    "prefix_tuning": "prefix tuning",
    "p_tuning": "p-tuning",
    "prompt_tuning": "prompt tuning",
    "ia3": "IA3",
    "full": "full",
}


# -- pieces of a page -------------------------------------------------------------------------------------------


def badge(status: Mapping[str, Any]) -> str:
    return f'<span class="state state-{text(status["state"])}">{text(state_words(status))}</span>'


def bar(status: Mapping[str, Any]) -> str:
    percent = round(100 * share(status), 1)
    return (
        f'<div class="bar bar-{text(status["state"])}" role="progressbar" aria-label="Progress" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{percent:g}"><div style="width:{percent:g}%"></div></div>'
    )


def header(status: Mapping[str, Any], view: View) -> str:
    """Recipe, dataset, model, state, progress, times, latest figures, and what went wrong."""
    params = status["params"]
    model, dataset = str(params.get("model", "")), str(params.get("dataset", ""))
    times = [f"asked for {when(status['created'])}"]
    if status["started"]:
        times = [f"started {when(status['started'])}"]
    if status["ended"] and status["state"] not in LIVING:
        took = duration(status["ended"] - status["started"]) if status["started"] else ""
        times.append(f"ended {when(status['ended'])}{f' after {took}' if took else ''}")
    if status["parent"]:
        times.append(f"from run {link(status['parent'])}")
    return (
        f'<div class="run-head"><h2>{text(what(status))} on {text(short(dataset))}</h2>{badge(status)}'
        f'<span class="run-id">run {text(status["id"])}</span></div>'
        f'<div class="quiet">{text(model)} · {text(dataset)} · {" · ".join(times)}</div>'
        f'{bar(status)}<div class="run-progress">{text(progress_words(status))}</div>'
        f"{figures(status)}{trouble(status, view)}"
    )


def figures(status: Mapping[str, Any]) -> str:
    """The latest value of each figure, those people know first."""
    values = status["metrics"]
    order = [name for name in NAMES if name in values] + sorted(name for name in values if name not in NAMES)
    cells = "".join(
        f"<span><b>{text(number(name, values[name]))}</b> {text(figure(name))}</span>" for name in order[:8]
    )
    return f'<div class="figures" id="run-figures">{cells}</div>' if cells else ""


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


def link(run_id: str) -> str:
    """A way to another run; the page opens it in place."""
    return f'<a href="?run={text(run_id)}" data-run="{text(run_id)}">{text(run_id)}</a>'


def log(view: View) -> str:
    """The tail of the log; each line has its time of day and, when it tells of trouble, a mark that can be read."""
    if not view.log:
        return '<div class="log" tabindex="0" aria-label="Log"><div class="quiet">Nothing is written yet.</div></div>'
    skipped = view.lines - len(view.log)
    head = f'<div class="quiet">… {skipped:,} earlier lines are in the full log</div>' if skipped else ""
    lines = head + "".join(map(_line, view.log))
    return f'<div class="log" tabindex="0" role="log" aria-label="Log"><div>{lines}</div></div>'


def _line(line: Line) -> str:
    moment = datetime.fromtimestamp(line.at, UTC)
    stamp = f'<time datetime="{moment:%Y-%m-%dT%H:%M:%SZ}" data-clock>{moment:%H:%M:%S}</time>'
    sign = {"error": "error ", "warning": "warning "}.get(line.level, "")
    return (
        f'<div class="line line-{text(line.level)}">{stamp} {f"<b>{sign}</b>" if sign else ""}{text(line.text)}</div>'
    )


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
    """Watch it learn: for each prompt the reference, what the base said and what the model said at each checkpoint."""
    if not view.samples:
        return ""
    steps = list(view.samples)
    newest = view.samples[steps[-1]]
    cards = []
    for row in newest:
        prompt = row.get("prompt", "")
        said = [(step, _answer(view.samples[step], prompt)) for step in steps]
        lines = [("Should be", row.get("reference"), "should"), ("Base", row.get("base"), "base")]
        lines += [(f"Step {step:,}", answer, "now" if step == steps[-1] else "then") for step, answer in said]
        body = "".join(
            f'<div class="said said-{kind}"><dt>{text(name)}</dt><dd>{text(answer) or "<i>nothing</i>"}</dd></div>'
            for name, answer, kind in lines
            if answer is not None
        )
        cards.append(f'<article class="sample"><p>{text(prompt)}</p><dl>{body}</dl></article>')
    return f'<h3>Watch it learn</h3><div class="samples">{"".join(cards)}</div>'


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
    items = "".join(f"<li><b>{text(kind.capitalize())}</b> {_made(made)}</li>" for kind, made in kinds.items())
    return f'<ul class="artifacts">{items}</ul>'


def _made(rows: Sequence[Mapping[str, Any]]) -> str:
    names = ", ".join(text(row["name"] or row["file"]) for row in rows[-6:] if row["name"] != row["kind"])
    return f"{names} <span class=quiet>step {rows[-1]['step']:,}</span>"


def settings(status: Mapping[str, Any]) -> str:
    """The job's params, and what the run found out about where it works."""
    found = {key: value for key, value in status["info"].items() if key not in status["params"]}
    return _pairs(status["params"]) + (f"<h4>Found at the start</h4>{_pairs(found)}" if found else "")


def _pairs(values: Mapping[str, Any]) -> str:
    rows = "".join(f"<div><dt>{text(key)}</dt><dd>{text(_plain(value))}</dd></div>" for key, value in values.items())
    return f'<dl class="settings">{rows}</dl>'


def _plain(value: Any) -> str:
    if value is None or value == "":
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def listing(runs: Sequence[Mapping[str, Any]], shown: str = "", more: bool = False) -> str:
    """The sidebar's list: a button a run."""
    if not runs:
        return '<p class="quiet">Your runs will be here. Start one in Tune.</p>'
    items = "".join(_item(status, status["id"] == shown) for status in runs)
    rest = '<button type="button" class="more" data-more="1">Show more</button>' if more else ""
    return f'<ul class="runs">{items}</ul>{rest}'


def _item(status: Mapping[str, Any], chosen: bool) -> str:
    living = status["state"] in LIVING
    below = text(progress_words(status)) if living else when(status["ended"] or status["created"])
    loss = status["metrics"].get("loss", status["metrics"].get("train_loss"))
    score = f"loss {text(number('loss', loss))}" if loss is not None and not living else ""
    return (
        f'<li><button type="button" data-run="{text(status["id"])}"{" aria-current=true" if chosen else ""}>'
        f"<span class=top><b>{text(what(status))}</b>{badge(status)}</span>"
        f"<span class=quiet>{text(short(status['params'].get('dataset', '')))} · {text(status['id'])}</span>"
        f"{bar(status) if living else ''}"
        f"<span class=quiet>{' · '.join(part for part in (below, score) if part)}</span></button></li>"
    )


# -- data before a run ------------------------------------------------------------------------------------------


def preview(rows: Sequence[Mapping[str, Any]], limit: int = 5) -> str:
    """The first rows: chats as chats, other columns by name."""
    return f'<div class="rows">{"".join(_row(row) for row in rows[:limit])}</div>' if rows else ""


def _row(row: Mapping[str, Any]) -> str:
    cells = "".join(
        f"<div class=cell><dt>{text(name)}</dt><dd>{_value(value)}</dd></div>" for name, value in row.items()
    )
    return f"<dl class=row>{cells}</dl>"


def _value(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(turn, dict) and "content" in turn for turn in value):
        said = [(turn.get("role", ""), _cut(turn["content"])) for turn in value[:6]]
        return "".join(
            f'<div class="turn"><span class=quiet>{text(who)}</span> {text(words)}</div>' for who, words in said
        )
    return text(_cut(_plain(value)))


def _cut(value: Any, most: int = 400) -> str:
    words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return words if len(words) <= most else words[:most] + "…"


def steps(params: Mapping[str, Any], total: int | None) -> int:
    """About how many optimiser steps a training run over `total` rows takes; 0 when it can't be told."""
    if params["max_steps"]:
        return int(params["max_steps"])
    if total is None:
        return 0
    rows = min(total, params["max_rows"] or total)
    rows -= min(params["eval_rows"], rows // 2)  # held out
    batch = params["per_device_train_batch_size"] * params["gradient_accumulation_steps"]
    return math.ceil(math.ceil(rows / batch) * params["num_train_epochs"])


def pace(runs: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> float | None:
    """Seconds a step took in the newest of `runs` with the same model, batch and length; None when there is none."""
    same = ("model", "per_device_train_batch_size", "gradient_accumulation_steps", "max_length", "adapter")
    for status in runs:
        alike = all(str(status["params"].get(name)) == str(params.get(name)) for name in same)
        if alike and status["state"] == "finished" and status["step"] > 1 and status["started"]:
            return float((status["ended"] - status["started"]) / status["step"])
    return None
