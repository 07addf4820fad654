"""Curves as pictures: every figure finds its place, one point is seen, and long curves stay small."""

from __future__ import annotations

import re

from ui import charts


def spots(page: str, name: str = "") -> list[tuple[int, int]]:
    path = re.search(rf'data-name="{name}" d="([^"]*)"', page)
    assert path
    return [(int(x), int(y)) for x, y in re.findall(r"[ML](\d+),(\d+)", path[1])]


def test_a_curve_fills_its_field() -> None:
    page = charts.page({"loss": [(0, 4.0), (5, 3.0), (10, 2.0)]})
    assert spots(page) == [(0, 0), (500, 150), (1000, 300)]
    assert 'data-field="0 10 2.0 4.0"' in page
    assert 'aria-label="Loss: Loss 2"' in page


def test_a_single_point_can_be_seen() -> None:
    page = charts.page({"loss": [(3, 1.5)]})
    assert spots(page) == [(500, 150)]
    assert 'd="M500,150h0"' in page
    assert "step 3" in page


def test_figures_that_belong_together_share_a_picture() -> None:
    page = charts.page({"loss": [(1, 2.0), (2, 1.0)], "eval_loss": [(2, 1.5)], "rewards/margins": [(1, 0.1)]})
    assert page.count("<figure") == 2
    assert len(spots(page, "Eval loss")) == 1
    assert page.index('id="run-loss"') < page.index('id="run-margin"')


def test_machines_of_one_run_share_a_picture() -> None:
    curves = {"loss": [(1, 1.0)], "job_cpu": [(1, 0.5)], "job_cpu/machine 2": [(1, 0.25)]}
    page = charts.page(curves)
    assert page.count("<figure") == 2
    assert "Processor there: machine 1 50%, machine 2 25%" in page


def test_other_figures_are_folded_away_and_bookkeeping_is_left_out() -> None:
    page = charts.page({"loss": [(1, 2.0)], "logps/chosen": [(1, -3.0)], "epoch": [(1, 0.1)], "eval_epoch": [(1, 0.1)]})
    assert "1 more figures" in page
    assert page.count("<figure") == 2
    assert page.index("<details") < page.index("Logps · chosen")
    assert charts.page({"epoch": [(1, 0.1)]}) == charts.page({}) == ""


def test_a_long_curve_is_thinned_and_keeps_its_ends() -> None:
    drawn = spots(charts.page({"loss": [(step, float(step)) for step in range(500)]}))
    assert len(drawn) <= charts.POINTS + 1
    assert (drawn[0], drawn[-1]) == ((0, 300), (1000, 0))
    assert len(charts.page({"loss": [(step, step % 7) for step in range(500)]})) < 4_000
