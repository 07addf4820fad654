"""What an evaluation looks like; nothing that a model or a dataset says becomes part of the page."""

from __future__ import annotations

from typing import Any

import pytest

from backend.metrics import METRICS
from ui import evaluate_views as drawn

FIGURE = {
    "metric": "exact_match",
    "figure": "exact_match",
    "title": "Exact match",
    "unit": "%",
    "higher": True,
    "n": 208,
}
EVIL = '<img src=x onerror="alert(1)">'


def told(**more: Any) -> dict[str, Any]:
    figures = [FIGURE | {"model": m, "value": v, "low": v - 0.05, "high": v + 0.05} for m, v in ((0, 0.1), (1, 0.731))]
    pair = FIGURE | {"a": 0, "b": 1, "value": 0.631, "low": 0.56, "high": 0.69, "p": 1e-9, "p_adjusted": 1e-9}
    pair |= {"wins": 140, "ties": 60, "losses": 8, "verdict": "Better, by 63.1 points [56.0, 69.0], n = 208."}
    return {
        "id": "ab12", "name": "", "pinned": False, "dataset": "sample/evaluation", "rows": 208, "at": 0.0,
        "models": [{"name": "owner/base"}, {"name": "run/ab12"}], "figures": figures, "pairs": [pair],
        "slices": [], "confusion": [], "failed": [], "unasked": [],
    } | more  # fmt: skip


def test_figures_with_intervals_and_a_verdict() -> None:
    text = drawn.summary(told())
    assert "73.1 %</b> <span>[68.1, 78.1]" in text
    assert 'class="verdict better"' in text
    assert "p &lt; 0.001" in text
    assert "140 won, 60 even, 8 lost" in text
    assert "higher is better" in text
    assert "base</span>" in text


@pytest.mark.parametrize(
    ("verdict", "tone"),
    [("Better, by 1", "better"), ("Worse, by 1", "worse"), ("More, by 3", "other"), ("Can't tell: 1", "unsure"),
     ("The same on every row, n = 3.", "unsure")],
)  # fmt: skip
def test_tones(verdict: str, tone: str) -> None:
    assert drawn.tone({"verdict": verdict}) == tone


def test_three_models_have_their_pairs_below() -> None:
    one = told()
    one["models"].append({"name": "third"})
    one["figures"].append(FIGURE | {"model": 2, "value": 0.5, "low": None, "high": None, "n": 1})
    text = drawn.summary(one)
    assert "(Holm)" in text
    assert "<small>n = 1</small>" in text


def test_no_figures_and_failed_rows_are_said() -> None:
    assert "No row could be counted" in drawn.summary(told(figures=[]))
    assert "2 rows failed" in drawn.head(told(failed=[{}], unasked=[{}]))


@pytest.mark.parametrize(
    ("answer", "reference", "shown"),
    [
        ("It is Paris.", "Paris", "<mark>It is </mark>Paris<mark>.</mark>"),
        ("Paris", "Paris", "Paris"),
        ("", "Paris", '<span class="quiet">(nothing)</span>'),
        ("free", "", "free"),
        ("a < b", "a", "a<mark> &lt; b</mark>"),
    ],
)
def test_words_that_the_reference_lacks_are_marked(answer: str, reference: str, shown: str) -> None:
    assert drawn.words(answer, reference) == shown


def test_rows_side_by_side() -> None:
    side = {"answer": "Paris", "error": None, "score": 1.0, "confidence": 0.9, "tokens": 1}
    failed = side | {"answer": None, "error": "too long", "score": None}
    row = {"row": 3, "prompt": "Capital?", "reference": "Paris", "of": {"topic": "capital"}, "answers": [side, failed]}
    text = drawn.examples(told(), {"rows": [row], "total": 12}, "exact_match", 2)
    assert "3 to 3 of 12 rows" in text
    assert "row 3 · topic: capital" in text
    assert "✓" in text
    assert "too long" in text
    assert "No row is like that" in drawn.examples(told(), {"rows": [], "total": 0}, "exact_match", 0)


def test_slices_and_confusion() -> None:
    cut = {"column": "topic", "slice": "past", "figure": "exact_match", "value": 0.5, "low": 0.2, "high": 0.8, "n": 8}
    text = drawn.slices(told(slices=[cut | {"model": 0}, cut | {"model": 1}]), "exact_match")
    assert "past" in text
    assert "n = 8" in text
    assert "No column tells the rows apart" in drawn.slices(told(), "exact_match")
    matrix = {"model": 1, "labels": ["a", "b"], "answers": ["a", "b", "(other)"], "counts": [[3, 1, 0], [0, 2, 0]]}
    text = drawn.confusion(told(confusion=[matrix]))
    assert text.count("<button") == 3
    assert 'data-reference="a" data-answer="b"' in text
    assert drawn.confusion(told()) == ""


def test_history() -> None:
    one = told(created=0.0) | {"models": ["owner/base", "run/ab12"], "pinned": True}
    text = drawn.history([one], "ab12")
    assert "Exact match 10.0 % → 73.1 %" in text
    assert 'aria-current="true"' in text
    assert "★" in text
    assert "kept here" in drawn.history([], "")


def test_what_it_took_and_several_seeds() -> None:
    one = told()
    one["models"][0] |= {"seconds": 75.0, "memory_gb": 0.61}
    one["models"][1] |= {"dollars": 0.0123}
    one["figures"][0] |= {"seeds": [0.05, 0.15, 0.1]}
    text = drawn.summary(one)
    assert "took 1 min 15 s, 0.61 GB" in text
    assert "took $ 0.0123" in text
    assert "3 seeds, 5.0 % to 15.0 %" in text


def test_nothing_said_becomes_the_page() -> None:
    side = {"answer": EVIL, "error": None, "score": 1.0, "confidence": 0.9, "tokens": 1}
    row = {"row": 1, "prompt": EVIL, "reference": EVIL, "of": {EVIL: EVIL}, "answers": [side, side | {"error": EVIL}]}
    one = told(name=EVIL, dataset=EVIL, models=[{"name": EVIL}, {"name": EVIL}])
    one["pairs"][0]["verdict"] = EVIL
    matrix = {"model": 0, "labels": [EVIL], "answers": [EVIL], "counts": [[1]]}
    cut = {
        "column": EVIL,
        "slice": EVIL,
        "figure": "exact_match",
        "value": 0.5,
        "low": 0.2,
        "high": 0.8,
        "n": 8,
        "model": 0,
    }
    status = {"state": "failed", "error": {"message": EVIL, "hint": EVIL}}
    kept = one | {"created": 0.0, "models": [EVIL, EVIL]}
    for text in (
        drawn.head(one), drawn.summary(one), drawn.examples(one, {"rows": [row], "total": 1}, "exact_match", 0),
        drawn.confusion(one | {"confusion": [matrix]}), drawn.slices(one | {"slices": [cut]}, "exact_match"),
        drawn.history([kept], ""), drawn.progress(status),
    ):  # fmt: skip
        assert "<img" not in text
        assert "&lt;img" in text


def test_every_metric_is_explained() -> None:
    text = drawn.glossary(METRICS)
    assert all(one.title in text or one.title.replace("&", "&amp;") in text for one in METRICS.values())
