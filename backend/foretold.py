"""How long an evaluation will take, from what earlier ones of its owner took here; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Line = Mapping[str, Any]  # an evaluation as `Evaluations.every` tells it


def foretell(lines: Sequence[Line], models: Sequence[str], like: Mapping[str, Any], rows: int) -> dict[str, Any]:
    """{seconds, rows, of, alike, unknown} for `rows` rows put to each of `models`; 0 rows are as many as last time.

    `like` are the settings that make a row quicker or slower: where an earlier run had the same it is believed
    (`alike`), else one with others gives the order of size. `of` are the runs it goes by, `unknown` the models that
    were never measured; `seconds` is None where all are, or where the number of rows is not known.
    """
    same = [one for one in lines if _alike(one, like)]
    rows = rows or next((one["rows"] for one in same if not _limit(one)), 0)
    seconds, of, unknown, alike = 0.0, [], [], True
    for model in models:
        known = _pace(same, model)
        alike = alike and known is not None
        known = known or _pace(lines, model)
        if known is None:
            unknown.append(model)
        else:
            begin, each, run = known
            seconds += begin + each * rows
            of.append(run)
    told = seconds if of and rows else None
    return {"seconds": told, "rows": rows, "of": [*dict.fromkeys(of)], "alike": alike, "unknown": unknown}


def _alike(one: Line, like: Mapping[str, Any]) -> bool:
    return all(one["settings"].get(name) == value for name, value in like.items())


def _limit(one: Line) -> int:
    return int(one["settings"].get("limit") or one["settings"].get("max_rows") or 0)


def _pace(lines: Sequence[Line], model: str) -> tuple[float, float, str] | None:
    """(seconds to begin, seconds a row, run) of the newest that measured `model`."""
    for one in sorted(lines, key=lambda one: -one["created"]):
        for name, about in zip(one["settings"].get("models", []), one["about"], strict=False):
            if name == model and about.get("seconds") and one["rows"]:
                asking = about.get("asking", about["seconds"])
                return about["seconds"] - asking, asking / one["rows"], one["id"]
    return None
