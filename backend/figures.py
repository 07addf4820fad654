"""Figures of evaluations as files: CSV, Markdown, JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from backend.errors import BadInput


def export(told: Mapping[str, Any], path: Path) -> Path:
    """One evaluation: figures as .csv or .md, everything as .json. Raises BadInput."""
    match path.suffix:
        case ".json":
            path.write_text(json.dumps(told, ensure_ascii=False, indent=1))
        case ".csv":
            with path.open("w", newline="") as file:
                lines = csv.writer(file)
                lines.writerow(["model", "figure", "value", "low", "high", "n"])
                lines.writerows(_line(told, one) for one in told["figures"])
        case ".md":
            path.write_text(markdown(told))
        case other:
            raise BadInput(f"{other or 'nothing'} is no form to export.", "Use .csv, .json, .md or .parquet.")
    return path


def board(evaluations: Sequence[Mapping[str, Any]], dataset: str, path: Path) -> Path:
    """All figures on a dataset, the newest evaluation first: .csv, .md or .json. Raises BadInput."""
    mine = [one for one in evaluations if one["dataset"] == dataset]
    keys = ("evaluation", "created", "model", "figure", "value", "low", "high", "n")
    rows = []
    for told in sorted(mine, key=lambda one: -one["created"]):
        at = datetime.fromtimestamp(told["created"], UTC).strftime("%Y-%m-%d %H:%M")
        for one in told["figures"]:
            about = {"evaluation": told["id"], "created": at, "model": told["models"][one["model"]]}
            rows.append(about | {key: one[key] for key in keys[3:]})
    match path.suffix:
        case ".json":
            path.write_text(json.dumps({"dataset": dataset, "figures": rows}, ensure_ascii=False, indent=1))
        case ".csv":
            with path.open("w", newline="") as file:
                lines = csv.DictWriter(file, keys)
                lines.writeheader()
                lines.writerows(rows)
        case ".md":
            lines_of = [f"| {' | '.join(str(row[key]) for key in keys)} |" for row in rows]
            head = [f"| {' | '.join(keys)} |", "|" + "---|" * len(keys)]
            path.write_text(f"# {dataset}\n\n" + "\n".join(head + lines_of) + "\n")
        case other:
            raise BadInput(f"{other or 'nothing'} is no form to export.", "Use .csv, .md or .json.")
    return path


def markdown(told: Mapping[str, Any]) -> str:
    """Figures with their intervals as a table, then the verdicts."""
    names = [one["name"] for one in told["models"]]
    figures = list(dict.fromkeys((one["figure"], one["title"]) for one in told["figures"]))
    lines = [f"| {told['dataset']}, {told['rows']:,} rows | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for figure, title in figures:
        cells = [next((_cell(one) for one in told["figures"] if (one["figure"], one["model"]) == (figure, model)), "")
                 for model in range(len(names))]  # fmt: skip
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    lines += [""] if told["pairs"] else []
    lines += [f"- {p['title']}, {names[p['b']]} beside {names[p['a']]}: {p['verdict']}" for p in told["pairs"]]
    return "\n".join(lines) + "\n"


def _cell(one: Mapping[str, Any]) -> str:
    scale, sign = (100, " %") if one["unit"] == "%" else (1, f" {one['unit']}".rstrip())
    shown = [f"{one[key] * scale:.4g}" if one[key] is not None else "–" for key in ("value", "low", "high")]
    return f"{shown[0]}{sign} [{shown[1]}, {shown[2]}]"


def _line(told: Mapping[str, Any], one: Mapping[str, Any]) -> list[Any]:
    return [told["models"][one["model"]]["name"], *(one[key] for key in ("figure", "value", "low", "high", "n"))]
