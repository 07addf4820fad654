"""A run beside its base, as HTML: verdicts first, nothing that others wrote becomes part of the page."""

from __future__ import annotations

from typing import Any

from tests.ui.test_evaluate_views import EVIL, told
from ui import beside

RUN = {"recipe": "sft", "state": "finished"}


def line(dataset: str = "sample/evaluation", **more: Any) -> dict[str, Any]:
    """An evaluation as `Evaluations.every` tells it."""
    one = told(dataset=dataset, **more)
    names = [model["name"] for model in one["models"]]
    return one | {"models": names, "about": [{}, {}], "created": 0.0, "settings": {"max_rows": 64}}


def follows(**more: Any) -> dict[str, Any]:
    return {"results": [], "going": [], "promised": False, "can": False} | more


def test_the_verdict_comes_first_and_what_was_learned_before_what_was_forgotten() -> None:
    page = beside.page(follows(results=[line("sample/forgetting"), line()], can=True), RUN, 64)
    assert 'Exact match 10.0 % → 73.1 %. <b class="verdict better">Better, by 63.1 points' in page
    assert page.index("did not learn from") < page.index("may have forgotten")
    assert page.index('class="lead"') < page.index("<table")
    assert 'data-beside="all"' in page
    assert 'data-look="ab12"' in page
    assert "data-look" not in beside.page(follows(results=[line()]), RUN, 64, looks=False)


def test_all_rows_measured_leave_nothing_to_offer() -> None:
    page = beside.page(follows(results=[line() | {"settings": {"max_rows": 0}}], can=True), RUN, 64)
    assert "data-beside" not in page


def test_what_is_under_way_or_failed_is_told() -> None:
    status = {
        "state": "running", "error": None, "params": {"held_out_of": "run/ab12", "dataset": "sample/evaluation"},
        "progress": {"done": 3, "total": 128, "unit": "answers", "eta": 40.0}, "ahead": None,
    }  # fmt: skip
    page = beside.page(follows(going=[status]), RUN, 64)
    assert "On rows it did not learn from" in page
    assert "answer 3 of 128 · 40 s left" in page
    broken = status | {"state": "failed", "error": {"message": EVIL, "hint": "Try again."}}
    assert "&lt;img" in beside.page(follows(going=[broken]), RUN, 64)
    assert not beside.watched(follows(going=[broken]), RUN)
    assert beside.watched(follows(going=[status, broken]), RUN)


def test_a_promise_is_awaited_only_while_it_is_due() -> None:
    assert "by itself" in beside.page(follows(promised=True, can=True), RUN, 64)
    assert beside.watched(follows(promised=True), RUN)
    assert not beside.watched(follows(promised=True), RUN | {"state": "paused"})


def test_names_are_text_and_nothing_is_nothing() -> None:
    page = beside.page(follows(results=[line(EVIL, models=[{"name": EVIL}, {"name": EVIL}])]), RUN, 64)
    assert "<img" not in page
    assert beside.page(follows(), RUN, 64) == ""
