"""Which method trains what, as the README shows it: `python -m backend.recipes`."""

from __future__ import annotations

from typing import get_args

from backend.recipes import METHODS, why_not
from backend.recipes.params import Adapter


def table(device: str = "cpu") -> str:
    """A row for each method and a column for each adapter: ✓, or a number whose reason stands below."""
    adapters = get_args(Adapter)
    reasons: list[str] = []
    lines = [f"| | {' | '.join(f'`{name}`' for name in adapters)} |", f"|---|{':-:|' * len(adapters)}"]
    for name, method in METHODS.items():
        cells = []
        for adapter in adapters:
            why = why_not(name, adapter, device)
            if why and why not in reasons:
                reasons.append(why)
            cells.append(str(reasons.index(why) + 1) if why else "✓")
        lines.append(f"| {method.title} `{name}` | {' | '.join(cells)} |")
    return "\n".join([*lines, *(f"\n{number}. {why}." for number, why in enumerate(reasons, 1))])


if __name__ == "__main__":
    print(table())
