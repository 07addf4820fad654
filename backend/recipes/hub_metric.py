"""Metrics of the Hub, by name: `hub:NAME` is what `evaluate.load(NAME)` computes from answers and references.

Such a metric is a program that is fetched. On a server that strangers reach only those that Hugging Face keeps are run.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

from backend.errors import BadInput, HubError
from backend.metrics import ON_HUB, about
from backend.recipes.questions import Question
from backend.settings import Settings

_SECONDS = 10.0  # for the interval of one model's figures
_DRAWS, _FEWEST = 200, 50  # rows drawn anew so often; with fewer there is no interval

Row = dict[str, Any]


@cache
def load(name: str) -> Any:
    """The metric `hub:NAME`. Raises BadInput where it may not be run, HubError where it can't be had."""
    found = ON_HUB.fullmatch(name)
    assert found, name
    if "/" in found[1] and Settings.read().public:
        raise BadInput(
            f"{name} is a program of a user of the Hub; a shared server runs only those without an owner.",
            "Choose one such as hub:accuracy, or run Atelier yourself.",
            "metric.refused",
        )
    import evaluate

    try:
        return evaluate.load(found[1])
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if isinstance(error, FileNotFoundError):  # its words name folders of this machine
            words = "the Hub has none of that name, or does not answer."
        raise HubError(
            f"The metric {name} can't be had: {words[:200]}",
            "Check its name at https://huggingface.co/evaluate-metric, or use one of ours.",
            "metric.unreachable",
        ) from None


def figures(
    name: str,
    questions: Sequence[Question],
    answered: Sequence[Sequence[Row]],
    seed: int,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Figures as `scoring` tells them, for each model; what the metric refuses is said, and left out."""
    metric, told = load(name), []
    for model, rows in enumerate(answered):
        pairs = [(row["answer"], one.reference) for one, row in zip(questions, rows, strict=True) if "answer" in row]
        try:
            given = _as_wanted(metric, pairs)
            values = _computed(metric, given)
        except Exception as error:  # whatever a stranger's program raises
            say(f"{name}: {type(error).__name__}: {str(error)[:300]}")
            continue
        spans = _spans(metric, given, seed)
        for key, value in values.items():
            figure = name if len(values) == 1 else f"{name} {key}"
            low, high = spans.get(key, (None, None))
            one: dict[str, Any] = {
                "metric": name,
                "figure": figure,
                "title": figure,
                "unit": about(name).unit,
                "higher": None,
            }
            told.append(one | {"model": model, "value": value, "low": low, "high": high, "n": len(pairs)})
    return told


def _as_wanted(metric: Any, pairs: Sequence[tuple[str, str]]) -> list[tuple[Any, Any]]:
    """Answers and references in the types that the metric's features name: labels become their numbers."""
    features = metric.features[0] if isinstance(metric.features, list) else metric.features
    texts = sorted({text for pair in pairs for text in pair})
    numbers = {text: place for place, text in enumerate(texts)}
    if all(text.lstrip("-").isdigit() for text in texts):
        numbers = {text: int(text) for text in texts}

    def made(text: str, feature: Any) -> Any:
        inner = getattr(feature, "feature", None)
        if inner is not None:
            return [made(text, inner)]
        kind = str(getattr(feature, "dtype", "string"))
        return numbers[text] if kind.startswith(("int", "uint")) else float(text) if kind.startswith("float") else text

    return [(made(one, features["predictions"]), made(other, features["references"])) for one, other in pairs]


def _computed(metric: Any, given: Sequence[tuple[Any, Any]]) -> dict[str, float]:
    found: Mapping[str, Any] = metric.compute(
        predictions=[one for one, _ in given], references=[other for _, other in given]
    )
    return {key: float(value) for key, value in found.items() if isinstance(value, int | float)}


def _spans(metric: Any, given: Sequence[tuple[Any, Any]], seed: int) -> dict[str, tuple[float, float]]:
    """95 % bootstrap intervals by key, as far as time allows."""
    rng, end = random.Random(seed), time.monotonic() + _SECONDS
    found: list[dict[str, float]] = []
    while len(found) < _DRAWS and time.monotonic() < end and len(given) > 1:
        found.append(_computed(metric, rng.choices(given, k=len(given))))
    if len(found) < _FEWEST:
        return {}
    ends = (round(0.025 * (len(found) - 1)), round(0.975 * (len(found) - 1)))
    spans = {}
    for key in found[0]:
        values = sorted(one[key] for one in found)
        spans[key] = (values[ends[0]], values[ends[1]])
    return spans
