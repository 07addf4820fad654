"""From answers to figures, without a model: labels, slices, one class, failures, and sizes."""

from __future__ import annotations

import math
import random
import time

import pytest

from backend.recipes import scoring
from backend.recipes.questions import Question

MODELS = [{"name": "base", "place": "a"}, {"name": "tuned", "place": "b"}]


def rows(*answers: str) -> list[dict]:
    return [{"answer": one, "tokens": 1, "seconds": 0.1, "confidence": 0.5} for one in answers]


def told(names: list[str], wanted: list[str], *answers: list[str], **more: object) -> dict:
    asked = [Question(n, "q", one, more={"part": "ab"[n % 2]}) for n, one in enumerate(wanted)]
    return scoring.score(names, asked, [rows(*one) for one in answers], MODELS[: len(answers)], **more)


def test_a_difference_is_told_with_its_rows() -> None:
    wanted = ["x"] * 40
    found = told(["exact_match"], wanted, ["y"] * 40, ["x"] * 30 + ["y"] * 10)
    (pair,) = found["pairs"]
    assert (pair["a"], pair["b"], pair["wins"], pair["ties"], pair["losses"]) == (0, 1, 30, 10, 0)
    assert pair["verdict"].startswith("Better, by 75.0 points")
    assert found["scores"]["exact_match"][1] == [1.0] * 30 + [0.0] * 10
    parts = {(one["slice"], one["model"]): one["value"] for one in found["slices"]}
    assert parts == {("a", 0): 0, ("b", 0): 0, ("a", 1): 0.75, ("b", 1): 0.75}
    flat = scoring.flat(found)
    assert flat["exact_match · tuned"] == 0.75
    assert flat["exact_match difference"] == 0.75
    assert flat["exact_match p"] < 0.001


def test_several_models_are_corrected_for() -> None:
    wanted = [str(n) for n in range(30)]
    near = wanted[:24] + ["?"] * 6
    found = scoring.score(
        ["exact_match"], [Question(n, "q", one) for n, one in enumerate(wanted)],
        [rows(*near), rows(*wanted), rows(*near)], [*MODELS, {"name": "third", "place": "c"}],
    )  # fmt: skip
    assert [(pair["a"], pair["b"]) for pair in found["pairs"]] == [(0, 1), (0, 2), (1, 2)]
    assert found["pairs"][0]["p"] == pytest.approx(0.03125)
    assert found["pairs"][0]["p_adjusted"] == pytest.approx(0.09375)
    assert found["pairs"][0]["verdict"].startswith("Can't tell")


def test_one_class_and_one_row() -> None:
    found = told(["accuracy", "f1", "mcc"], ["a", "a", "a"], ["a", "a", "a"])
    values = {one["figure"]: one["value"] for one in found["figures"]}
    assert values == {"accuracy": 1, "f1_macro": 1, "f1_weighted": 1, "mcc": 0}
    (figure,) = told(["exact_match"], ["a"], ["a"])["figures"]
    assert (figure["value"], figure["low"], figure["high"]) == (1, None, None)


def test_a_confusion_matrix_of_few_labels() -> None:
    found = told(["accuracy"], ["cat", "dog", "cat", "dog"] * 2, ["Cat.", "cat", "bird", "dog"] * 2)
    (matrix,) = found["confusion"]
    assert matrix["answers"] == ["cat", "dog", scoring.OTHER]
    assert matrix["counts"] == [[2, 0, 2], [2, 2, 0]]
    assert told(["exact_match"], [str(n) for n in range(40)], ["1"] * 40)["confusion"] == []


def test_rows_that_failed_are_left_out_of_figures() -> None:
    asked = [Question(n, "q", "x") for n in range(3)]
    found = scoring.score(["exact_match"], asked, [[*rows("x", "y"), {"error": "broke"}]], MODELS[:1])
    assert found["failed"] == [{"model": 0, "row": 2, "error": "broke"}]
    assert (found["figures"][0]["value"], found["figures"][0]["n"]) == (0.5, 2)
    said: list[str] = []
    none = scoring.score(["exact_match"], asked, [[{"error": "broke"}] * 3], MODELS[:1], say=said.append)
    assert none["figures"] == []
    assert said == ["Exact match: no row can be counted."]


@pytest.mark.parametrize(
    ("questions", "names"),
    [
        ([Question(1, "q", "r")], ["exact_match", "contains", "token_f1"]),
        ([Question(1, "q", "r", more={"pattern": "r"})], ["pattern"]),
        ([Question(1, "q", "a", choices=("a", "b"))], ["accuracy", "calibration"]),
        ([Question(1, "", "text")], ["perplexity", "bits_per_byte"]),
        ([Question(1, "q", "a", "b")], ["preference_accuracy"]),
    ],
)
def test_metrics_that_fit(questions: list[Question], names: list[str]) -> None:
    assert scoring.fitting(questions) == names
    assert [scoring.unfit(name, questions) for name in names] == [""] * len(names)


def test_json_has_no_nan() -> None:
    assert scoring._finite(math.nan) is None
    assert scoring._finite(0.1) == 0.1


@pytest.mark.long
def test_a_hundred_thousand_rows_and_five_metrics() -> None:
    rng = random.Random(0)
    wanted = [" ".join(rng.choices("the a cat dog sat on mat red big".split(), k=6)) for _ in range(100_000)]  # noqa: SIM905
    answers = [one if rng.random() < 0.5 else " ".join(rng.sample(one.split(), 5)) for one in wanted]
    start = time.perf_counter()
    told(["exact_match", "contains", "token_f1", "bleu", "chrf"], wanted, answers)
    assert time.perf_counter() - start < 90  # `make bench` holds 30 s on a quiet machine
