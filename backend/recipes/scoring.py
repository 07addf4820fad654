"""From answers to figures: intervals, paired verdicts, slices, a confusion matrix. Asks no model.

`score` gives what `results.json` holds, plain values throughout:

    models    [{name, place}]                    failed   [{model, row, error}]
    figures   [{metric, figure, title, unit, higher, model, value, low, high, n}], of several drawings also `seeds`,
              the value of each: then value and interval are of rows that are means over drawings
    pairs     [{a, b, metric, figure, …, value, low, high, p, p_adjusted, n, wins, ties, losses, verdict}]
    slices    [{column, value, figure, model, value_of, low, high, n}]
    confusion [{model, labels, counts}]          rows  {figure: a list for each model of a score for each row}
"""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from backend.errors import BadInput
from backend.metrics import METRICS, Metric, about, label, module
from backend.recipes import hub_metric
from backend.recipes.questions import Question, slices

if TYPE_CHECKING:
    from backend.metrics import Array

    Value = Callable[[Array], dict[str, Array]]
Row = dict[str, Any]
MOST_LABELS = 200  # classes; more is no classification
SHOWN_LABELS = 25  # classes of a confusion matrix; the rest are one
OTHER = "(other)"
_COLUMNS: dict[str, Callable[[Question, Row], Any]] = {  # what a metric reads, from a question and what came of it
    "predictions": lambda question, row: row["answer"],
    "references": lambda question, row: question.reference,
    "tokens": lambda question, row: row["tokens"],
    "seconds": lambda question, row: row["seconds"],
    "confidences": lambda question, row: row["confidence"],
    "log_likelihoods": lambda question, row: row["log_likelihood"],
    "bytes": lambda question, row: row["reference_bytes"],
    "chosen": lambda question, row: row["log_likelihood"],
    "rejected": lambda question, row: row["rejected_log_likelihood"],
    "rewards": lambda question, row: row["reward"],
    "dollars": lambda question, row: row["dollars"],
}


def fitting(questions: Sequence[Question], pattern: str = "", schema: str = "") -> list[str]:
    """Metrics that are taken for data when none are named."""
    if pattern or all("pattern" in one.more for one in questions):
        return ["pattern"]
    if schema or all("schema" in one.more for one in questions):
        return ["json_schema"]
    if all(one.choices for one in questions):
        return ["accuracy", "calibration"]
    if all(one.prompt == "" for one in questions):
        return ["perplexity", "bits_per_byte"]
    if all(one.rejected for one in questions):
        return ["preference_accuracy"]
    if not any(one.reference for one in questions):
        return ["length"]
    return ["exact_match", "contains", "token_f1"]


def unfit(name: str, questions: Sequence[Question], pattern: str = "", schema: str = "", reward: str = "") -> str:
    """Why a metric can't be had of these questions; '' when it can."""
    metric = about(name)
    if metric.needs == "answers" and all(one.prompt == "" for one in questions):
        return "the data are plain text, so nothing is asked; use perplexity or bits_per_byte"
    if metric.needs == "preference" and not all(one.rejected for one in questions):
        return "it needs chosen and rejected answers"
    if metric.needs == "reward" and not reward:
        return "name a reward model, for example the run of one, in reward_model"
    wanted = {"references", "log_likelihoods"} & set(metric.inputs)
    if wanted and not any(one.reference for one in questions):
        return "it needs references, and no row has one"
    if "patterns" in metric.inputs and not pattern and not all("pattern" in one.more for one in questions):
        return "give a pattern, or a column `pattern`"
    given = sum("schema" in one.more for one in questions)
    if "schemas" in metric.inputs and not schema and 0 < given < len(questions):
        return "some rows have no schema; give a json_schema for these"
    many = len({label(one.reference) for one in questions}) if metric.labels else 0
    if many > MOST_LABELS or (len(questions) >= 20 and many > 0.75 * len(questions)):
        return f"the references are {many:,} different texts, so they are no labels; use exact_match"
    return ""


def columns(
    metric: Metric, questions: Sequence[Question], rows: Sequence[Row], pattern: str, schema: str
) -> dict[str, Any]:
    """The inputs of a metric, a list each."""
    own: dict[str, Callable[[Question, Row], Any]] = {
        "patterns": lambda question, row: str(question.more.get("pattern", pattern)),
        "schemas": lambda question, row: str(question.more.get("schema", schema)),
    }
    if metric.needs == "likelihood":
        own["tokens"] = lambda question, row: row["reference_tokens"]
    read = _COLUMNS | own
    return {name: [read[name](*pair) for pair in zip(questions, rows, strict=True)] for name in metric.inputs}


def _counts(metric: Metric, question: Question, row: Row) -> bool:
    """Whether a row can be counted: it did not fail and has what the metric reads."""
    if "error" in row or ("references" in metric.inputs and not question.reference and not metric.labels):
        return False
    if metric.needs in ("likelihood", "preference") and row.get("log_likelihood") is None:
        return False
    return all(row.get(field) is not None for field, column in _MAY_LACK.items() if column in metric.inputs)


_MAY_LACK = {"confidence": "confidences", "dollars": "dollars"}  # fields of a row, and the inputs made of them


def score(
    names: Sequence[str],
    questions: Sequence[Question],
    answered: Sequence[Sequence[Row]],
    models: Sequence[Mapping[str, str]],
    pattern: str = "",
    schema: str = "",
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
    more: Sequence[Sequence[Sequence[Row]]] = (),
) -> dict[str, Any]:
    """Everything that can be said of `answered`, for each model a row for each question; `more` drawings alike."""
    told: dict[str, Any] = {"models": [dict(one) for one in models], "rows": len(questions), "metrics": list(names)}
    told |= {"figures": [], "pairs": [], "slices": [], "scores": {}}
    told["failed"] = [
        {"model": model, "row": question.number, "error": row["error"]}
        for model, rows in enumerate(answered)
        for question, row in zip(questions, rows, strict=True)
        if "error" in row
    ]
    from backend.metrics import statistics

    apart = slices(list(questions))
    found: dict[str, tuple[list[Array], Value, Array]] = {}
    for name in names:
        try:
            if name in METRICS:
                found[name] = _statistics(name, questions, [answered, *more], pattern, schema)
            else:
                told["figures"] += hub_metric.figures(name, questions, answered, seed, say)
        except _NothingToCount:
            say(f"{METRICS[name].title}: no row can be counted.")
    # The same rows are drawn for all metrics, once.
    drawn = iter(statistics.draws([one for stats, *_ in found.values() for one in stats], seed) if found else [])
    for name, (stats, value, sums) in found.items():
        tell(told, name, METRICS[name], stats, value, [next(drawn) for _ in stats], apart, questions, seed, sums)
    told["confusion"] = _confusion(questions, answered)
    return told


class _NothingToCount(Exception):
    pass


def _statistics(
    name: str, questions: Sequence[Question], drawings: Sequence[Sequence[Sequence[Row]]], pattern: str, schema: str
) -> tuple[list[Array], Value, Array]:
    """For each model the metric's [questions, k], zeros for what can't be counted; its `value`; the sums of each.

    Several drawings of a row are one row, their mean. The sums are [drawings, models, k]. All models' rows are told
    together, so that classes have the same places in each.
    """
    import numpy

    metric, one = METRICS[name], module(name)
    answered = [rows for drawing in drawings for rows in drawing]
    pairs = [(question, row) for rows in answered for question, row in zip(questions, rows, strict=True)]
    counted = numpy.array([_counts(metric, *pair) for pair in pairs], bool)
    if not counted.any():
        raise _NothingToCount
    kept = [pair for pair, counts in zip(pairs, counted, strict=True) if counts]
    found = one.rows(**columns(metric, [q for q, _ in kept], [r for _, r in kept], pattern, schema))
    stats = numpy.zeros((len(pairs), found.shape[1]))
    stats[counted] = found
    shape = (len(drawings), -1, len(questions))
    each = stats.reshape(*shape, found.shape[1])
    times = numpy.maximum(1, counted.reshape(shape).sum(0))[..., None]
    return list(each.sum(0) / times), one.value, each.sum(2)


def tell(
    told: dict[str, Any],
    name: str,
    metric: Metric,
    stats: Sequence[Array],
    value: Value,
    drawn: Sequence[Array],
    apart: Mapping[str, Sequence[Any]],
    questions: Sequence[Question],
    seed: int,
    sums: Array,
) -> None:
    """Add the figures of one metric."""
    from backend.metrics import statistics

    for figure, title in metric.titles(name).items():
        one = partial(_one, value, figure)
        common = {"metric": name, "figure": figure, "title": title, "unit": metric.unit, "higher": metric.higher}
        for model, mine in enumerate(stats):
            found = statistics.interval(mine, one, drawn[model])
            seeds = {"seeds": [_finite(float(one(drawing[model]))) for drawing in sums]} if len(sums) > 1 else {}
            told["figures"].append(common | {"model": model, **_span(found), "n": int(mine.any(1).sum())} | seeds)
        pairs = []
        for a, b in _couples(len(stats)):
            gap = statistics.difference(stats[a], stats[b], one, metric.higher, (drawn[a], drawn[b]), seed)
            pairs.append((a, b, gap))
        for (a, b, gap), p in zip(pairs, statistics.holm([gap.p for _, _, gap in pairs]), strict=True):
            words = statistics.verdict(gap, metric.higher, metric.unit, p)
            counts = {"n": gap.n, "wins": gap.wins, "ties": gap.ties, "losses": gap.losses}
            told["pairs"].append(
                common
                | {"a": a, "b": b, **_span(gap), "p": _finite(gap.p), "p_adjusted": _finite(p)}
                | counts
                | {"verdict": words}
            )
        told["scores"][figure] = [[_finite(score) for score in one(mine).tolist()] for mine in stats]
        for column, values in apart.items():
            for which in values:
                inside = [i for i, question in enumerate(questions) if question.more.get(column) == which]
                for model, mine in enumerate(stats):
                    found = statistics.interval(mine[inside], one, seed=seed)
                    n = int(mine[inside].any(1).sum())
                    told["slices"].append(
                        {"column": column, "slice": which, "figure": figure, "model": model, **_span(found), "n": n}
                    )


def _one(value: Value, figure: str, sums: Array) -> Array:
    return value(sums)[figure]


def _couples(many: int) -> list[tuple[int, int]]:
    """Each against the first, and each against each while they are few."""
    every = list(itertools.combinations(range(many), 2))
    return every if many <= 4 else [pair for pair in every if pair[0] == 0]


def _span(found: Any) -> dict[str, float | None]:
    return {"value": _finite(found.value), "low": _finite(found.low), "high": _finite(found.high)}


def _finite(number: float) -> float | None:
    """JSON has no NaN."""
    return round(float(number), 8) if math.isfinite(number) else None


def _confusion(questions: Sequence[Question], answered: Sequence[Sequence[Row]]) -> list[dict[str, Any]]:
    """What was answered for which label, where references are few labels: counts[reference][answer]."""
    wanted = Counter(label(one.reference) for one in questions if one.reference)
    if not 2 <= len(wanted) <= SHOWN_LABELS or len(wanted) > len(questions) / 2:
        return []
    labels = sorted(wanted)
    places = {name: place for place, name in enumerate(labels)}
    found = []
    for model, rows in enumerate(answered):
        counts = [[0] * (len(labels) + 1) for _ in labels]
        for question, row in zip(questions, rows, strict=True):
            if "error" not in row and "answer" in row and question.reference:
                counts[places[label(question.reference)]][places.get(label(row["answer"]), len(labels))] += 1
        found.append({"model": model, "labels": labels, "answers": [*labels, OTHER], "counts": counts})
    return found


def check_schema(schema: str) -> None:
    """Raises BadInput for what is no JSON schema."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    try:
        Draft202012Validator.check_schema(json.loads(schema))
    except (ValueError, SchemaError) as error:
        raise BadInput(f"json_schema is no JSON schema: {str(error).splitlines()[0]}.", "Correct it.") from None


def flat(told: Mapping[str, Any]) -> dict[str, float]:
    """The figures for a run's metrics: by their own name for one model, with the model's name for several."""
    names = [one["name"] for one in told["models"]]
    values: dict[str, float | None] = {}
    for one in told["figures"]:
        key = one["figure"] if len(names) == 1 else f"{one['figure']} · {names[one['model']]}"
        values |= {key: one["value"], f"{key} low": one["low"], f"{key} high": one["high"]}
    for one in told["pairs"]:
        if (one["a"], one["b"]) == (0, len(names) - 1):
            values |= {f"{one['figure']} difference": one["value"], f"{one['figure']} p": one["p_adjusted"]}
    return {key: value for key, value in values.items() if value is not None}


def join(rows: Iterable[Row]) -> Row:
    """What several passes found of one question."""
    joined: Row = {}
    for row in rows:
        joined |= row
    return joined
