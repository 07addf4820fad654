"""Folding events: bounded whatever a run does, and only what is new is read."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest

from backend import events as ev
from backend.errors import NotYours
from tests.ui.run_status import fold
from ui import folding
from ui.folding import LINES, POINTS, WIDTH, Series, View, Views

# -- series -----------------------------------------------------------------------------------------------------


def test_a_short_series_is_kept_as_it_is() -> None:
    series = Series()
    for step in range(1, POINTS + 1):
        series.add(step, float(step))
    assert series.points() == [(step, float(step)) for step in range(1, POINTS + 1)]


def test_a_long_series_is_thinned_to_means_of_neighbours() -> None:
    series = Series()
    for step in range(1, 100_001):
        series.add(step, float(step % 2))
    points = series.points()
    assert POINTS // 2 <= len(points) <= POINTS
    assert points[-1][0] == 100_000
    assert [step for step, _ in points] == sorted({step for step, _ in points})
    assert all(value == pytest.approx(0.5) for _, value in points)


def test_going_on_from_a_checkpoint_forgets_the_steps_after_it() -> None:
    again = [ev.Measured(step=i, values={"loss": float(i)}) for i in range(1, 14)]
    view = fold(ev.Started(), *again, ev.Started(step=10), ev.Measured(step=11, values={"loss": 0.5}))
    assert view.series["loss"].points()[-2:] == [(10, 10.0), (11, 0.5)]


def test_an_odd_value_breaks_nothing() -> None:
    view = fold(ev.Measured(step=1, values={"loss": 1.0, "note": "text", "list": [1]}))  # type: ignore[dict-item]
    assert list(view.series) == ["loss"]


# -- memory -----------------------------------------------------------------------------------------------------


def weight(view: View) -> int:
    points = sum(len(series.points()) for series in view.series.values())
    texts = sum(sys.getsizeof(line.text) for line in view.log)
    answers = sum(sys.getsizeof(v) for rows in view.samples.values() for row in rows for v in row.values())
    return points * 100 + texts + answers


def test_memory_is_bounded_over_many_events() -> None:
    view = View()
    weights = []
    for step in range(10_000):
        view.add(ev.Measured(step=step, values={"loss": 1.0, f"metric_{step % 90}": 2.0}))
        view.add(ev.Wrote(text=f"line {step} " + "x" * 5_000))
        rows = [{"prompt": f"p{i}", "reference": "r", "base": "b", "answer": "y" * 9_000} for i in range(50)]
        view.add(ev.Produced(kind="samples", step=step, data={"rows": rows}))
        if step in (4_999, 9_999):
            weights.append(weight(view))
    assert len(view.log) == LINES
    assert view.lines == 10_000
    assert max(len(line.text) for line in view.log) == WIDTH + 1
    assert len(view.series) == folding.SERIES
    assert len(view.samples) == folding.CHECKPOINTS
    assert 0 in view.samples  # the first answers stay
    assert 9_999 in view.samples
    assert weights[1] < weights[0] * 1.1


class Log:
    """A log that counts what was read of it."""

    def __init__(self) -> None:
        self.events: dict[str, list[ev.Event]] = {}
        self.read = 0

    def watch(self, run: str, owner: str, after: int) -> tuple[Sequence[ev.Event], int]:
        if owner != "me":
            raise NotYours("This run is not yours.")
        new = self.events.get(run, [])[after : after + 1000]
        self.read += len(new)
        return new, after + len(new)


def test_a_look_reads_only_what_is_new() -> None:
    log = Log()
    log.events["a"] = [ev.Wrote(text=str(i)) for i in range(10_000)]
    held = Views(log.watch)
    assert held.look("a", "me").lines == 10_000
    assert log.read == 10_000
    log.events["a"].append(ev.Wrote(text="one more"))
    assert held.look("a", "me").log[-1].text == "one more"
    assert log.read == 10_001


def test_only_the_views_looked_at_last_are_kept() -> None:
    log = Log()
    held = Views(log.watch, size=2)
    for run in "abc":
        log.events[run] = [ev.Wrote(text=run)]
        held.look(run, "me")
    held.look("b", "me")
    assert log.read == 3
    assert held.look("a", "me").log[-1].text == "a"
    assert log.read == 4


def test_a_view_that_is_held_is_still_not_shown_to_others() -> None:
    log = Log()
    log.events["a"] = [ev.Wrote(text="mine")]
    held = Views(log.watch)
    held.look("a", "me")
    with pytest.raises(NotYours):
        held.look("a", "you")
