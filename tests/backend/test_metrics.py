"""Each metric: cases worked by hand, and what its reference library says of random inputs."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy
import pytest

from backend.metrics import METRICS, label, module, ratio

CASES = json.loads((Path(__file__).parent / "metrics" / "cases.json").read_text())
ROOT = Path(__file__).resolve().parents[2]


def figures(name: str, **columns: Sequence[Any]) -> dict[str, float]:
    one = module(name)
    return {figure: float(found) for figure, found in one.value(one.rows(**columns).sum(0)).items()}


@pytest.mark.parametrize(("name", "case"), [(name, case) for name, cases in CASES.items() for case in cases])
def test_cases(name: str, case: dict[str, Any]) -> None:
    columns = {column: values for column, values in case.items() if column != "figures"}
    assert figures(name, **columns) == pytest.approx(case["figures"], abs=1e-6)


def test_every_metric_has_cases_and_tells_what_it_is() -> None:
    assert set(CASES) == set(METRICS)
    for name, metric in METRICS.items():
        assert metric.says.endswith("."), name
        assert metric.beware.endswith("."), name
        assert set(metric.inputs) == set(CASES[name][0]) - {"figures"}
        assert set(metric.titles(name)) == set(CASES[name][0]["figures"])


# -- the reference libraries --------------------------------------------------------------------------------------


def by_sklearn(predictions: list[str], references: list[str]) -> dict[str, dict[str, float]]:
    from sklearn import metrics as sk

    macro = {"average": "macro", "zero_division": 0}
    return {
        "accuracy": {"accuracy": sk.accuracy_score(references, predictions)},
        "f1": {
            "f1_macro": sk.f1_score(references, predictions, **macro),
            "f1_weighted": sk.f1_score(references, predictions, average="weighted", zero_division=0),
        },
        "precision_recall": {
            "precision": sk.precision_score(references, predictions, **macro),
            "recall": sk.recall_score(references, predictions, **macro),
        },
        "mcc": {"mcc": sk.matthews_corrcoef(references, predictions)},
    }


def by_sacrebleu(predictions: list[str], references: list[str]) -> dict[str, dict[str, float]]:
    import sacrebleu

    return {
        "bleu": {"bleu": sacrebleu.corpus_bleu(predictions, [references], force=True).score},
        "chrf": {"chrf": sacrebleu.corpus_chrf(predictions, [references]).score},
        "ter": {"ter": sacrebleu.corpus_ter(predictions, [references]).score},
    }


def by_rouge_score(predictions: list[str], references: list[str]) -> dict[str, dict[str, float]]:
    from rouge_score import rouge_scorer, scoring

    kinds = ["rouge1", "rouge2", "rougeL"]
    scorer, gathered = rouge_scorer.RougeScorer(kinds, use_stemmer=True), scoring.BootstrapAggregator(n_samples=1)
    told = [scorer.score(other, one) for one, other in zip(predictions, references, strict=True)]
    for one in told:
        gathered.add_scores(one)
    return {"rouge": {kind: float(numpy.mean([one[kind].fmeasure for one in told])) for kind in kinds}}


SENTENCE = ["the", "a", "cat", "dogs", "sat", "runs", "on", "house", "red.", "big,", "not", "“quote”", "12", "ünï"]


def sentences(rng: random.Random, many: int) -> tuple[list[str], list[str]]:
    """Answers that share words with their references, empty and equal ones among them."""
    references = [" ".join(rng.choices(SENTENCE, k=rng.randint(1, 12))) for _ in range(many)]
    answers = [
        rng.choice((one, " ".join(word for word in one.split() if rng.random() < 0.7), rng.choice(SENTENCE)))
        for one in references
    ]
    return answers, references


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("library", [by_sacrebleu, by_rouge_score])
def test_random_sentences(library: Callable[..., dict[str, dict[str, float]]], seed: int) -> None:
    answers, references = sentences(random.Random(seed), 30)
    for name, wanted in library(answers, references).items():
        assert figures(name, predictions=answers, references=references) == pytest.approx(wanted, abs=1e-9), name


@pytest.mark.parametrize("seed", range(10))
def test_random_labels(seed: int) -> None:
    rng = random.Random(seed)
    labels = "abcdef"[: rng.randint(2, 6)]
    references = rng.choices(labels, weights=range(1, len(labels) + 1), k=40)
    answers = [one if rng.random() < 0.6 else rng.choice(labels) for one in references]
    for name, wanted in by_sklearn(answers, references).items():
        assert figures(name, predictions=answers, references=references) == pytest.approx(wanted, abs=1e-9), name


@pytest.mark.parametrize("seed", range(3))
def test_random_figures(seed: int) -> None:
    rng = numpy.random.default_rng(seed)
    logs, tokens = -rng.exponential(20, 30), rng.integers(1, 30, 30)
    assert figures("perplexity", log_likelihoods=logs, tokens=tokens)["perplexity"] == pytest.approx(
        math.exp(-logs.sum() / tokens.sum())
    )
    confidences, right = rng.random(200), rng.random(200) < 0.5
    error = 0.0
    for low in range(10):
        inside = (confidences > low / 10) & (confidences <= (low + 1) / 10)
        error += inside.mean() * abs(confidences[inside].mean() - right[inside].mean()) if inside.any() else 0
    found = figures(
        "calibration",
        predictions=["a"] * 200,
        references=["a" if one else "b" for one in right],
        confidences=confidences,
    )
    assert found["calibration"] == pytest.approx(error)


def test_meteor_is_nltks() -> None:
    from nltk.translate.meteor_score import single_meteor_score

    class NoSynonyms:
        def synsets(self, word: str) -> list[str]:
            return []

    answer, reference = "a dog was running fast", "the dogs ran fast"
    wanted = single_meteor_score(reference.split(), answer.split(), wordnet=NoSynonyms())
    assert figures("meteor", predictions=[answer], references=[reference])["meteor"] == pytest.approx(wanted)


def test_what_means_the_same_is_closer() -> None:
    def near(answer: str) -> float:
        found = figures("embedding_similarity", predictions=[answer], references=["A man is eating food."])
        return found["embedding_similarity"]

    assert near("Someone has a meal.") > near("The train is late.") + 0.2


# -- what the rest relies on ---------------------------------------------------------------------------------------


def test_sums_over_parts_are_the_whole_and_a_row_of_zeros_counts_nothing() -> None:
    answers, references = sentences(random.Random(0), 20)
    for name in ("bleu", "chrf", "rouge", "f1", "mcc", "exact_match"):
        one = module(name)
        found = one.rows(predictions=answers, references=references)
        whole = one.value(found.sum(0))
        parts = numpy.stack([found[:7].sum(0) + found[7:].sum(0), numpy.append(found, found[:1] * 0, axis=0).sum(0)])
        for figure, values in one.value(parts).items():
            assert values == pytest.approx([float(whole[figure])] * 2), name


def test_nothing_to_count_is_not_a_number() -> None:
    for name in ("exact_match", "perplexity", "calibration"):
        one = module(name)
        case = {column: values for column, values in CASES[name][0].items() if column != "figures"}
        assert all(math.isnan(float(found)) for found in one.value(one.rows(**case).sum(0) * 0).values()), name
    assert ratio(numpy.array([1.0, 2.0]), numpy.array([2.0, 0.0]))[0] == 0.5


def test_labels_are_told_from_their_writing() -> None:
    assert label(" Positive. ") == label("positive") != label("negative")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["exact_match", "rouge", "calibration"])
def test_evaluate_loads_it(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import evaluate

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("evaluate.config.HF_EVALUATE_OFFLINE", True)
    case = CASES[name][0]
    loaded = evaluate.load(str(ROOT / "backend" / "metrics" / name), cache_dir=str(tmp_path))
    columns = {column: values for column, values in case.items() if column != "figures"}
    assert loaded.compute(**columns) == pytest.approx(case["figures"], abs=1e-6)
    assert loaded.description


@pytest.mark.parametrize(
    "name", ["exact_match", "accuracy", "f1", "mcc", "token_f1", "bleu", "chrf", "ter", "rouge", "meteor"]
)
def test_answers_and_references_of_different_length_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"shorter|longer|use as many"):
        module(name).rows(predictions=["a", "b"], references=["a"])


def test_answers_of_another_type_are_refused() -> None:
    import evaluate

    metric = evaluate.load(str(ROOT / "backend" / "metrics" / "accuracy"))
    with pytest.raises(ValueError, match=r"Mismatch|different|match"):
        metric.compute(predictions=["a", "b"], references=["a"])
    with pytest.raises((ValueError, TypeError, AttributeError)):
        metric.compute(predictions=[["a"]], references=["a"])
