"""The dashboard's HTML: who is first, what is not known, settings that differ, names that are not trusted."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ui.evaluate import board, plots

EVIL = "<img src=x onerror=alert(1)>"


def told(created: float = 1.0, values: tuple[float | None, float | None] = (0.2, 0.7), **more: Any) -> dict[str, Any]:
    about = {"metric": "m", "unit": "%", "higher": True, "n": 20}
    figures = [
        about | {"figure": name, "title": name.capitalize(), "model": model, "value": value,
                 "low": None if value is None else value - 0.1, "high": None if value is None else value + 0.1}
        for name in ("exact", "contains", "token")
        for model, value in enumerate(values)
    ]  # fmt: skip
    costs = [{"name": "a/base", "seconds": 10.0, "memory_gb": 0.5}, {"name": "run/ab12", "dollars": 0.2}]
    return {
        "id": f"id{created:.0f}", "name": "", "created": created, "dataset": "d", "rows": 20, "figures": figures,
        "models": ["a/base", "run/ab12"], "about": costs, "settings": {"seed": 0, "max_rows": 0}, "pinned": False,
    } | more  # fmt: skip


def test_the_best_comes_first_with_its_newest_figures_and_costs() -> None:
    text = board.table([told(1.0), told(2.0, (0.4, 0.3))], "d")
    assert text.index("base") < text.index("run/ab12")  # it was behind before
    assert "40.0 %" in text
    assert "20.0 %" not in text
    assert "0.5 s" in text
    assert "0.5 GB" in text
    assert "$ 10" in text
    assert board.table([told()], "other") == ""


def test_what_has_no_value_comes_last() -> None:
    models = board.newest([told(1.0, (None, -1.0))], "d")
    assert board.ranked(models, "exact") == ["run/ab12", "a/base"]
    lower = {name: {"t": {"higher": False, "value": value}} for name, value in (("slow", 3.0), ("quick", 1.0))}
    assert board.ranked(lower, "t") == ["quick", "slow"]


def test_every_picture() -> None:
    text = board.pictures([told(1.0), told(2.0)], "d", "exact")
    assert text.count("<svg") == 4
    assert text.count("<figcaption") == 4
    text = board.pictures([told(1.0)], "d", "exact", "dollars")
    assert "against dollars for 1,000 answers" in text
    assert "Nothing was measured" in board.pictures([told(1.0)], "d", "other")
    assert "Not known of any model" in board.pictures([told(about=[{}, {}])], "d", "exact")
    two = told()
    two["figures"] = [one for one in two["figures"] if one["figure"] != "token"]
    assert "It takes three figures" in board.pictures([two], "d", "exact")


def test_a_model_has_one_colour_in_all_pictures() -> None:
    """The worse one of two, which alone tells its costs: second in order, first and only one in the scatter."""
    one = told(1.0)
    worse = min((each for each in one["figures"] if each["figure"] == "exact"), key=lambda each: each["value"])
    one["about"] = [{"seconds": 5.0} if place == worse["model"] else {} for place in range(2)]
    text = board.pictures([one], "d", "exact")
    name = one["models"][worse["model"]]
    drawn = re.findall(r'fill="(#\w+)"[^>]*><title>([^<:]+)', text)
    assert len([colour for colour, of in drawn if of == name]) >= 3
    assert {colour for colour, of in drawn if of == name} == {plots.colour(1)}


def test_settings_that_differ_stand_beside_what_came_of_them() -> None:
    text = board.settings([told(1.0), told(2.0, settings={"seed": 5, "max_rows": 0})], "d", "exact")
    assert "seed" in text
    assert "max_rows" not in text
    assert "20.0 % → 70.0 %" in text
    assert board.settings([], "d", "exact") == ""


@pytest.mark.parametrize("draw", [board.table, lambda *of: board.pictures(*of, "exact"),
                                  lambda *of: board.settings(*of, "exact")])  # fmt: skip
def test_names_are_text(draw: Any) -> None:
    one = told(models=[EVIL, "run/ab12"], name=EVIL)
    for figure in one["figures"]:
        figure["title"] = EVIL
    text = draw([one], "d")
    assert "<img" not in text
    assert "&lt;img" in text
