"""Data and plans before a run, as HTML. Pure; everything from outside is escaped."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ui.views import plain, text


def preview(rows: Sequence[Mapping[str, Any]], limit: int = 5) -> str:
    """The first rows: chats as chats, other columns by name."""
    return f'<div class="rows">{"".join(_row(row) for row in rows[:limit])}</div>' if rows else ""


def _row(row: Mapping[str, Any]) -> str:
    cells = "".join(
        f"<div class=cell><dt>{text(name)}</dt><dd>{_value(value)}</dd></div>" for name, value in row.items()
    )
    return f"<dl class=row>{cells}</dl>"


def _value(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(turn, dict) and "content" in turn for turn in value):
        said = [(turn.get("role", ""), _cut(turn["content"])) for turn in value[:6]]
        return "".join(
            f'<div class="turn"><span class=quiet>{text(who)}</span> {text(words)}</div>' for who, words in said
        )
    return text(_cut(plain(value)))


def _cut(value: Any, most: int = 400) -> str:
    words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return words if len(words) <= most else words[:most] + "…"


def steps(params: Mapping[str, Any], total: int | None) -> int:
    """About how many optimiser steps a training run over `total` rows takes; 0 when it can't be told."""
    if params["max_steps"]:
        return int(params["max_steps"])
    if total is None:
        return 0
    rows = min(total, params["max_rows"] or total)
    rows -= min(params["eval_rows"], rows // 2)  # held out
    batch = params["per_device_train_batch_size"] * params["gradient_accumulation_steps"]
    return math.ceil(math.ceil(rows / batch) * params["num_train_epochs"])


def pace(runs: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> float | None:
    """Seconds a step took in the newest of `runs` with the same model, batch and length; None when there is none."""
    same = ("model", "per_device_train_batch_size", "gradient_accumulation_steps", "max_length", "adapter")
    for status in runs:
        alike = all(str(status["params"].get(name)) == str(params.get(name)) for name in same)
        if alike and status["state"] == "finished" and status["step"] > 1 and status["started"]:
            return float((status["ended"] - status["started"]) / status["step"])
    return None
