"""Pictures as they are drawn: what the events of an engine add up to."""

from __future__ import annotations

import pytest

from backend import events as ev
from backend.errors import LabError
from ui.images.drawing import Drawing


def told(*events: ev.Event, **begun: int) -> Drawing:
    drawing = Drawing(**begun)
    for event in events:
        drawing.add(event)
    return drawing


def steps(*at: float, of: int = 4) -> list[ev.Event]:
    return [ev.Progressed(done=done, total=of, eta=of - done, at=when) for done, when in enumerate(at, 1)]


PICTURE = ev.Produced(kind="picture", name="a.png", file="/x/a.png", data={"seed": 7})


def test_before_it_begins_it_says_what_it_waits_for() -> None:
    drawing = told(ev.Logged(text="2 pictures before yours"))
    assert (drawing.doing, drawing.begun, drawing.over) == ("2 pictures before yours", False, False)


def test_a_preview_is_there_until_the_picture_is() -> None:
    began = [ev.Started(info={"width": 64, "steps": 4}), ev.Produced(kind="preview", step=2, data={"png": "abc"})]
    assert told(*began).preview == "abc"
    drawing = told(*began, PICTURE, ev.Finished(reason="stop"))
    assert (drawing.preview, drawing.ended) == ("", "stop")
    assert drawing.pictures == [{"name": "a.png", "file": "/x/a.png", "settings": {"seed": 7}}]


def test_warnings_are_kept_once_and_are_not_what_is_done() -> None:
    warning = ev.Logged(level="warning", text="the rest was cut")
    drawing = told(ev.Logged(text="Loading it"), warning, warning)
    assert (drawing.doing, drawing.notes) == ("Loading it", ["the rest was cut"])


def test_its_pace_is_that_between_steps_and_not_the_wait_before() -> None:
    began = ev.Started(info={"steps": 4})
    assert told(began, *steps(100)).pace == 0
    assert told(began, *steps(100, 100.5, 101.5)).pace == pytest.approx(0.75)
    twice = told(began, *steps(100, 101, 102, 103), PICTURE, began, *steps(200, 201), requests=2)
    assert twice.pace == pytest.approx(1)


def test_several_requests_end_with_the_last_and_count_what_is_left() -> None:
    began, ended = ev.Started(info={"steps": 4}), ev.Finished(reason="stop")
    drawing = told(began, *steps(100, 102, of=4), requests=3)
    assert drawing.left == pytest.approx(2 + 2 * 2 * 4)
    for _ in range(2):
        drawing.add(ended)
        assert not drawing.over
    drawing.add(ended)
    assert drawing.over


def test_an_error_keeps_what_was_drawn() -> None:
    drawing = told(PICTURE)
    drawing.fail(LabError("no"))
    assert (drawing.ended, len(drawing.pictures)) == ("error", 1)
