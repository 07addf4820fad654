"""The figures we hold ourselves to, measured here and now.

    python -m tests.bench [NAME …]

Each file beside this one has `measure()`, which gives one row or a list of rows:
{"what", "figure", "unit", "against", "comparison", "ratio", "requirement", "passed"}. `comparison` is the figure of
the other thing (`against`) in the same unit, taken in the same run, since only ratios are stable between machines.
Rows without a comparison leave those fields out. The exit code is 1 when a requirement is missed.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

BENCHES = (
    "startup",
    "store",
    "chat",
    "serve",
    "sft",
    "ppo",
    "tune",
    "evaluate",
    "tables",
    "zerogpu",
    "hub",
    "together",
    "images",
    "taught",
)
HEAD = ("what", "figure", "against", "ratio", "requirement", "")


def row(result: Mapping[str, Any]) -> tuple[str, ...]:
    """What one result looks like in the table."""
    unit = result.get("unit", "")

    def shown(value: Any) -> str:
        return f"{value:.3g} {unit}".strip() if isinstance(value, int | float) else str(value or "")

    against = f"{result['against']}: {shown(result['comparison'])}" if "against" in result else ""
    ratio = f"{result['ratio']:.2f}" if "ratio" in result else ""
    verdict = "pass" if result["passed"] else "FAIL"
    return (result["what"], shown(result["figure"]), against, ratio, result["requirement"], verdict)


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Markdown with its columns in line."""
    rows = [HEAD, *rows]
    widths = [max(len(line[i]) for line in rows) for i in range(len(HEAD))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def main(names: Sequence[str]) -> int:
    if unknown := set(names) - set(BENCHES):
        print(f"There is no bench {', '.join(sorted(unknown))}; there are {', '.join(BENCHES)}.", file=sys.stderr)
        return 2
    results: list[Mapping[str, Any]] = []
    for name in names or BENCHES:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        found = importlib.import_module(f"tests.bench.{name}").measure()
        results += [found] if isinstance(found, Mapping) else found
    print(table([row(result) for result in results]))
    return 0 if all(result["passed"] for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
