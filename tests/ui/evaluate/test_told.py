"""A judge, blind pairs and groups of errors as HTML: what is warned of, and that nothing said becomes HTML."""

from __future__ import annotations

from typing import Any

import pytest

from ui.evaluate import told

EVIL = "<img src=x onerror=alert(1)>"
NO = {"value": None, "low": None, "high": None, "n": 0}


def verdicts(agreement: dict[str, Any], **more: Any) -> dict[str, Any]:
    pair = {"a": 0, "b": 1, "wins": 3, "ties": 2, "losses": 1, "verdict": "Better, by 33.3 points [1, 60], n = 6."}
    rated = [{"model": "x", "rating": 1010.0, "low": 990.0, "high": 1030.0, "wins": 1, "ties": 0, "losses": 0}]
    return {
        "id": "ab12", "judge": "a/judge", "at": 1.0, "models": ["x", "y"], "agreement": agreement, "nonsense": 2,
        "asked": 12, "first": {"value": 0.5, "low": 0.3, "high": 0.7, "n": 10}, "pairs": [pair], "ratings": rated,
    } | more  # fmt: skip


def test_a_judge_that_disagrees_with_itself_is_warned_of() -> None:
    good = told.judged([verdicts({"value": 0.9, "low": 0.8, "high": 0.95, "n": 6})])
    assert "agrees with itself on 90 % [80, 95]" in good
    assert "2 of 12 replies were no verdict" in good
    assert "says little" not in good
    assert "run/ab12" in good
    assert "says little" in told.judged([verdicts({"value": 0.3, "low": 0.1, "high": 0.5, "n": 6})])
    assert "gave no pair two verdicts" in told.judged([verdicts(NO, first=NO)])
    assert "most of its replies are no verdict" in told.judged([verdicts(NO, first=NO, nonsense=9)])
    assert "No judge has been asked" in told.judged([])


def test_a_pair_has_no_names_and_keys() -> None:
    text = told.pair({"done": 1, "total": 3, "place": 2, "prompt": "Q?", "left": "L", "right": "R", "chosen": "left"})
    assert "1 of 3 chosen" in text
    assert 'data-place="2"' in text
    assert text.count("data-key=") == 5
    assert text.count('aria-pressed="true"') == 1
    assert "All are chosen" in told.pair({"done": 3, "total": 3, "place": -1})


def test_ratings_and_groups() -> None:
    rated = [{"model": "x", "rating": 1010.0, "low": None, "high": None, "wins": 1, "ties": 0, "losses": 0, "n": 1}]
    assert "1010" in told.ratings(rated)
    assert "Nothing has been compared" in told.ratings([rated[0] | {"rating": None}])
    found = [{"words": ["coins"], "errors": 3, "rows": 6, "share": 0.5, "low": 0.2, "high": 0.8, "of": [1, 5, 9]}]
    text = told.groups(found)
    assert 'data-rows="1,5,9"' in text
    assert "50 % [20, 80]" in text


def test_nothing_said_becomes_the_page() -> None:
    one = verdicts(NO, models=[EVIL, EVIL], judge=EVIL)
    one["pairs"][0]["verdict"] = EVIL
    pair = {"done": 0, "total": 1, "place": 0, "prompt": EVIL, "left": EVIL, "right": EVIL, "chosen": ""}
    group = {"words": [EVIL], "errors": 3, "rows": 6, "share": 0.5, "low": 0.2, "high": 0.8, "of": [1]}
    rated = {"model": EVIL, "rating": 1.0, "low": 0.0, "high": 2.0, "wins": 1, "ties": 0, "losses": 0}
    for text in (told.judged([one]), told.pair(pair), told.groups([group]), told.ratings([rated])):
        assert "<img" not in text
        assert "&lt;img" in text


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"seconds": 250.0, "alike": True}, "About 4 min 10 s for 100 rows of each model, as run ab12 went."),
        ({"seconds": 250.0, "alike": False}, "By other tasks, perhaps 4 min 10 s"),
        ({"seconds": 5.0, "alike": True, "unknown": [EVIL]}, "&lt;img"),
        ({"seconds": None, "unknown": ["base"]}, "nothing like it has run here yet. Ask 5 rows first"),
        ({"seconds": None, "rows": 0}, "not known how many rows"),
    ],
)
def test_how_long_tasks_will_take(found: dict[str, Any], words: str) -> None:
    assert words in told.foretold({"rows": 100, "of": ["ab12"], "alike": True, "unknown": []} | found)
