"""Folding events into what a person sees: bounded, escaped, and true about odd numbers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import pytest

from backend import events as ev
from backend.errors import NotYours
from ui import views
from ui.views import LINES, POINTS, WIDTH, Series, View, Views

EVIL = "<script>alert(1)</script>\"'`${x}"


def fold(*stream: ev.Event) -> View:
    view = View()
    for event in stream:
        view.add(event)
    return view


def status(**more: Any) -> dict[str, Any]:
    about = {
        "id": "ab12", "recipe": "sft", "target": "local", "state": "running", "step": 3, "metrics": {}, "artifacts": [],
        "progress": {"done": 3, "total": 10, "unit": "steps", "eta": 75.0}, "error": None, "reason": "", "ahead": None,
        "params": {"model": "m/x", "dataset": "sample/instructions", "adapter": "lora"}, "parent": "", "info": {},
        "created": 1.0, "started": 2.0, "ended": None,
    }  # fmt: skip
    return about | more


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


def test_a_loss_that_is_no_number_is_said_and_not_drawn() -> None:
    line = ev.encode(ev.Measured(step=2, values={"loss": float("nan"), "grad_norm": float("inf")}))
    view = fold(ev.Measured(step=1, values={"loss": 1.0}), ev.parse(line))
    assert view.series["loss"].points() == [(1, 1.0)]
    assert "not a number since step 2" in views.trouble(status(), view)
    shown = views.figures(status(metrics={"loss": "nan", "grad_norm": "inf"}))
    assert "not a number" in shown
    assert "infinite" in shown
    healed = fold(ev.parse(line), ev.Started(step=1))
    assert views.trouble(status(), healed) == ""


def test_an_odd_value_breaks_nothing() -> None:
    view = fold(ev.Measured(step=1, values={"loss": 1.0, "note": "text", "list": [1]}))  # type: ignore[dict-item]
    assert list(view.series) == ["loss"]


def test_a_plot_knows_its_legend_before_the_second_curve_begins() -> None:
    view = fold(ev.Measured(step=1, values={"loss": 2.0}))
    assert views.columns(view, ("loss", "eval_loss")) == {
        "step": [1, 1], "value": [2.0, None], "series": ["Loss", "Eval loss"],
    }  # fmt: skip
    assert views.columns(view, ("learning_rate",)) == {"step": [], "value": [], "series": []}


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
    assert len(view.series) == views.SERIES
    assert len(view.samples) == views.CHECKPOINTS
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


# -- words ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "ahead", "words"),
    [
        ("running", None, "Running"), ("queued", 0, "Queued: yours is next"),
        ("queued", 1, "Queued: 1 run before yours"), ("queued", 3, "Queued: 3 runs before yours"),
        ("paused", None, "Paused"), ("stopping", None, "Stopping"),
        ("failed", None, "Failed"), ("finished", None, "Finished"), ("cancelled", None, "Cancelled"),
    ],
)  # fmt: skip
def test_states_have_words(state: str, ahead: int | None, words: str) -> None:
    assert views.state_words(status(state=state, ahead=ahead)) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, ""), (-1, ""), (float("nan"), ""), (0.2, "0 s"), (59.4, "59 s"), (185, "3 min 05 s"), (7_800, "2 h 10 min"),
     (273_600, "3 d 4 h")],
)  # fmt: skip
def test_durations(seconds: float | None, words: str) -> None:
    assert views.duration(seconds) == words


def test_progress() -> None:
    assert views.progress_words(status()) == "step 3 of 10 · 1 min 15 s left"
    assert views.progress_words(status(state="paused")) == "step 3 of 10"
    assert views.share(status()) == pytest.approx(0.3)
    assert views.share(status(state="finished")) == 1
    nothing = {"done": 0, "total": 0, "unit": "steps", "eta": None}
    assert (views.progress_words(status(progress=nothing)), views.share(status(progress=nothing))) == ("", 0)


def test_moments_are_times_that_the_page_can_localise() -> None:
    assert views.when(0) == '<time datetime="1970-01-01T00:00:00Z">1970-01-01 00:00 UTC</time>'


def test_steps_are_told_before_a_run() -> None:
    params = {
        "max_steps": None, "max_rows": 0, "eval_rows": 16, "per_device_train_batch_size": 8,
        "gradient_accumulation_steps": 1, "num_train_epochs": 3.0,
    }  # fmt: skip
    assert views.steps(params, 504) == 183
    assert views.steps(params, 2) == 3
    assert views.steps(params | {"max_steps": 7}, 504) == 7
    assert views.steps(params, None) == 0


def test_the_pace_is_that_of_a_finished_run_with_the_same_settings() -> None:
    other = status(state="finished", step=10, started=1.0, ended=99.0) | {"params": {"model": "other"}}
    mine = status(state="finished", step=10, started=1.0, ended=21.0)
    assert views.pace([other, status(), mine], mine["params"]) == 2.0
    assert views.pace([other, status()], mine["params"]) is None


# -- HTML -------------------------------------------------------------------------------------------------------


def test_everything_from_outside_is_escaped() -> None:
    row = {"prompt": EVIL, "reference": EVIL, "base": EVIL, "answer": EVIL}
    view = fold(
        ev.Wrote(text=EVIL), ev.Logged(level="error", text=EVIL),
        ev.Produced(kind="samples", step=1, data={"rows": [row]}),
        ev.Produced(kind=EVIL, name=EVIL, file="p"), ev.Failed(message=EVIL, hint=EVIL),
    )  # fmt: skip
    evil = status(
        id=EVIL, recipe=EVIL, state="failed", metrics={EVIL: 1.0, "loss": EVIL}, info={EVIL: EVIL}, parent=EVIL,
        params={"model": EVIL, "dataset": EVIL, "adapter": EVIL, EVIL: [EVIL]}, reason=EVIL,
        artifacts=[{"kind": EVIL, "name": EVIL, "file": EVIL, "step": 1}],
        error={"code": "x", "message": EVIL, "hint": EVIL},
    )  # fmt: skip
    drawn = [
        views.header(evil, view), views.log(view), views.samples(view), views.artifacts(evil), views.settings(evil),
        views.listing([evil], EVIL, more=True),
        views.preview([{EVIL: EVIL, "chat": [{"role": EVIL, "content": EVIL}], "n": {EVIL: 1}}]),
    ]  # fmt: skip
    assert all("script" in page for page in drawn)
    assert [page for page in drawn if "<script" in page.lower() or "\"'`" in page] == []


def test_the_log_marks_trouble_in_words_and_tells_what_it_leaves_out() -> None:
    many = [ev.Wrote(text=f"line {i}") for i in range(LINES + 5)]
    page = views.log(fold(*many, ev.Logged(level="error", text="it broke"), ev.Wrote(text="10%\r20%\r30%")))
    assert "7 earlier lines" in page
    assert '<div class="line line-error">' in page
    assert "<b>error </b>it broke" in page
    assert "10%" not in page
    assert "30%" in page


def test_the_full_log_has_every_line_and_figure() -> None:
    text = views.full_log(
        [ev.Started(at=0), ev.Measured(at=1, step=4, values={"loss": 0.5}), ev.Wrote(at=2, text="a\nb")]
    )
    assert text.splitlines() == [
        "1970-01-01 00:00:00 mark    Started.", "1970-01-01 00:00:01 measure step 4 loss=0.5",
        "1970-01-01 00:00:02 plain   a", "1970-01-01 00:00:02 plain   b",
    ]  # fmt: skip


def test_samples_show_how_the_answers_changed() -> None:
    rows = [{"prompt": "2+2?", "reference": "4", "base": "The answer is four", "answer": "{}"}]
    sets = [
        ev.Produced(kind="samples", step=step, data={"rows": [row | {"answer": now} for row in rows]})
        for step, now in ((5, "four"), (10, "4"))
    ]
    page = views.samples(fold(*sets))
    assert [word in page for word in ("2+2?", "The answer is four", "Step 5", "four", "Step 10")] == [True] * 5
    assert page.index("Step 5") < page.index("Step 10")
    assert views.samples(View()) == ""


def test_marks_change_with_what_they_stand_for() -> None:
    assert views.mark("a", 1) == views.mark("a", 1)
    assert views.mark("a", 1) != views.mark("a", 2)
