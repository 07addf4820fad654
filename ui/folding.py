"""Folds a run's events into what its view is drawn from: curves, the tail of the log, sample answers. Pure.

A View's memory is bounded whatever the run does: at most POINTS points a series, SERIES series, LINES lines of
WIDTH characters, CHECKPOINTS sets of sample answers.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from backend import events as ev
from ui.views import real

POINTS, SERIES, LINES, WIDTH, CHECKPOINTS = 500, 40, 500, 2_000, 12
ROWS = 8  # sample answers shown of one checkpoint
PICTURE = 60_000  # characters of a small picture's address


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

    def curves(self) -> dict[str, list[tuple[int, float]]]:
        """Every series by name."""
        return {name: series.points() for name, series in self.series.items()}

    def tail(self, after: int) -> list[Line]:
        """The lines since the first `after`, of those that are kept."""
        fresh = min(self.lines - after, len(self.log))
        return list(self.log)[len(self.log) - fresh :] if fresh > 0 else []

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
        if (number := real(value)) is not None:
            self.series.setdefault(name, Series()).add(step, number)

    def _produced(self, event: ev.Produced) -> None:
        if event.kind == "samples":
            rows = [row for row in event.data.get("rows", []) if isinstance(row, dict)]
            self.samples[event.step] = [
                {str(k): str(v)[: PICTURE if k == "picture" else WIDTH] for k, v in row.items()} for row in rows[:ROWS]
            ]
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
