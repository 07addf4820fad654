"""The sidebar's list: whose it is, what it says, and that it is sent only when it changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backend import events as ev
from backend.jobs import Run
from backend.lab import Lab
from tests.ui.drawing import ME, YOU, drawn, handler
from tests.ui.scripted import lab as scripted
from ui import runs
from ui.visitor import owner


@pytest.fixture
def lab(home: Path) -> Lab:
    return scripted(ATELIER_HOME=str(home))


def start(lab: Lab, who: Any = ME, **params: Any) -> Run:
    return lab.launch("sft", params, owner(who), "fake")


def test_my_runs_newest_first_and_nobody_elses(lab: Lab) -> None:
    first, second, other = start(lab), start(lab), start(lab, YOU)
    look = handler(drawn(runs.sidebar, lab), "look")
    page, _ = look(50, "", "", ME)
    assert page.index(second.id) < page.index(first.id)
    assert other.id not in page
    assert look(50, first.id, "", ME)[0].count("aria-current") == 1


def test_nothing_is_sent_again_until_something_changes(lab: Lab) -> None:
    look = handler(drawn(runs.sidebar, lab), "look")
    page, mark = look(50, "", "", ME)
    assert "Your runs will be here" in page
    assert look(50, "", mark, ME) == [{"__type__": "update"}] * 2
    run = start(lab)
    page, later = look(50, "", mark, ME)
    assert (run.id in page, later != mark) == (True, True)


def test_a_living_run_shows_how_far_it_is(lab: Lab) -> None:
    target: Any = lab.targets["fake"]
    target.script = lambda run: [ev.Started(), ev.Progressed(done=30, total=60, eta=90)]
    start(lab)
    page, _ = handler(drawn(runs.sidebar, lab), "look")(50, "", "", ME)
    assert "Running" in page
    assert "step 30 of 60 · 1 min 30 s left" in page
    assert 'aria-valuenow="50"' in page


def test_many_runs_come_in_pages(lab: Lab) -> None:
    for _ in range(4):
        start(lab)
    look = handler(drawn(runs.sidebar, lab), "look")
    some, _ = look(3, "", "", ME)
    assert (some.count("<li>"), "Show more" in some) == (3, True)
    every, _ = look(4, "", "", ME)
    assert (every.count("<li>"), "Show more" in every) == (4, False)
