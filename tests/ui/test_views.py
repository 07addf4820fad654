"""The words about runs."""

from __future__ import annotations

import pytest

from tests.ui.run_status import status
from ui import views


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


def test_the_list_has_the_place_in_line_below() -> None:
    assert "Tune" in views.listing([])
    assert "Tune" not in views.listing([], tune=False)
    drawn = views.listing([status(state="queued", ahead=2)])
    assert ">Queued</span>" in drawn
    assert "<span class=quiet>2 runs before yours</span>" in drawn


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


def test_marks_change_with_what_they_stand_for() -> None:
    assert views.mark("a", 1) == views.mark("a", 1)
    assert views.mark("a", 1) != views.mark("a", 2)
