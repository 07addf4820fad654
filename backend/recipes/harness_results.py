"""What lm-evaluation-harness found, in the form of an evaluation: figures with intervals, paired tests, rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backend.metrics import Metric, mean
from backend.recipes import scoring

_SHARES = ("acc", "acc_norm", "exact_match", "em", "f1", "mc1", "mc2", "pass@1", "acc_mutual_info")  # between 0 and 1


def tell(found: Sequence[Mapping[str, Any]], models: Sequence[Mapping[str, str]], seed: int = 0) -> dict[str, Any]:
    """What the harness found of each model, in the form of `scoring.score`."""
    import numpy

    from backend.metrics import each, statistics

    told: dict[str, Any] = {"models": [dict(one) for one in models], "metrics": ["lm_eval"], "failed": []}
    told |= {"figures": [], "pairs": [], "slices": [], "confusion": [], "scores": {}}
    told["rows"] = sum(len(_rows(found[0], task)) for task in found[0]["samples"])
    for task, results in found[0]["results"].items():
        for key, value in results.items():
            metric, _, which = key.partition(",")
            if not which or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            name = f"{task} {metric}" + (f" {which}" if which != "none" else "")
            higher = found[0].get("higher_is_better", {}).get(task, {}).get(metric)
            unit: Any = "%" if metric in _SHARES else ""
            about = Metric(f"{task}: {metric}" + (f", {which}" if which != "none" else ""), "", "",
                           higher=higher if isinstance(higher, bool) else None, unit=unit)  # fmt: skip
            scores = [_scores(one, task, metric, which) for one in found]
            values = [one["results"][task][key] for one in found]
            whole = all(row and abs(float(numpy.mean(row)) - value) < 1e-9
                        for row, value in zip(scores, values, strict=True))  # fmt: skip
            if whole:
                stats = [each(row) for row in scores]
                drawn = statistics.draws(stats, seed)
                sums = numpy.stack([one.sum(0) for one in stats])[None]
                scoring.tell(told, name, about, stats, mean(name), drawn, {}, [], seed, sums)
                continue
            for model, one in enumerate(found):
                error = one["results"][task].get(f"{metric}_stderr,{which}")
                span = 1.959964 * error if isinstance(error, int | float) else None
                told["figures"].append(
                    {"metric": "lm_eval", "figure": name, "title": about.title, "unit": unit, "higher": about.higher,
                     "model": model, "value": values[model], "n": len(scores[model]) or told["rows"],
                     "low": values[model] - span if span is not None else None,
                     "high": values[model] + span if span is not None else None}
                )  # fmt: skip
    return told


def _rows(found: Mapping[str, Any], task: str, which: str = "") -> list[Mapping[str, Any]]:
    """A task's samples in order; a task with several filters tells each row once for each."""
    samples = found["samples"].get(task, [])
    which = which or (samples[0]["filter"] if samples else "")
    return sorted((one for one in samples if one["filter"] == which), key=lambda one: int(one["doc_id"]))


def _scores(found: Mapping[str, Any], task: str, metric: str, which: str) -> list[float]:
    """What each row has of a metric; [] where rows have none, or something else than a number."""
    values: list[Any] = [one.get(metric) for one in _rows(found, task, which)]
    return [float(one) for one in values] if all(isinstance(one, int | float) for one in values) else []


def keep(found: Sequence[Mapping[str, Any]], told: dict[str, Any], path: Path) -> None:
    """Every row with what each model said, as Parquet, in the form of `evaluate`."""
    import pyarrow
    from pyarrow import parquet

    table: dict[str, list[Any]] = {"row": [], "prompt": [], "reference": [], "of.task": []}
    scores = told.pop("scores")
    columns = [f"{model}.answer" for model in range(len(found))]
    columns += [f"{model}.score.{figure}" for figure in scores for model in range(len(found))]
    table |= {column: [] for column in columns}
    for task in found[0]["samples"]:
        rows = [_rows(one, task) for one in found]
        begin = len(table["row"])
        for place, row in enumerate(rows[0]):
            table["row"].append(begin + place + 1)
            table["prompt"].append(str(_first(row)))
            table["reference"].append(_wanted(row))
            table["of.task"].append(task)
            for model, mine in enumerate(rows):
                table[f"{model}.answer"].append(_said(mine[place]))
        for figure, models in scores.items():
            fits = figure.startswith(f"{task} ") and len(models[0]) == len(rows[0])
            for model, values in enumerate(models):
                table[f"{model}.score.{figure}"] += values if fits else [None] * len(rows[0])
    parquet.write_table(pyarrow.table(table), path)


def _first(row: Mapping[str, Any]) -> Any:
    """The prompt of a sample, in whatever form its arguments are."""
    found: Any = row.get("arguments") or [""]
    while isinstance(found, list | tuple | dict) and found:
        found = next(iter(found.values())) if isinstance(found, dict) else found[0]
    return found


def _choices(row: Mapping[str, Any]) -> list[str]:
    """The texts among which a sample chooses; [] where an answer is written."""
    given, said = row.get("arguments") or [], row.get("filtered_resps") or []
    pairs = all(isinstance(one, list | tuple) and len(one) == 2 for one in [*given, *said])
    if not pairs or len(given) != len(said) or not all(isinstance(one[0], int | float) for one in said):
        return []
    return [str(one[1]).strip() for one in given]


def _wanted(row: Mapping[str, Any]) -> str:
    """The reference of a sample; of several choices its text."""
    target, choices = row.get("target", ""), _choices(row)
    number = int(target) if str(target).isdigit() else -1
    return choices[number] if 0 <= number < len(choices) else str(target)


def _said(row: Mapping[str, Any]) -> str:
    """The answer of a sample: its text, or the choice that was likeliest."""
    said = row.get("filtered_resps") or row.get("resps") or [""]
    if choices := _choices(row):
        return choices[max(range(len(said)), key=lambda i: said[i][0])]
    while isinstance(said, list | tuple) and said:
        said = said[0]
    return str(said)
