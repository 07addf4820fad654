"""Every row checked: how many rows are wrong in which way, which ones, and which are there twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from backend.errors import BadData
from backend.recipes.reading import Row, Wrong, short_name
from backend.recipes.shapes import Shape

LEAST = 2  # rows; one to learn from alone teaches nothing
NAMED = 10  # rows of a finding that are named


@dataclass
class Finding:
    """`count` rows that break one `rule`: the numbers of the first ones, from 1, and what was `said` of the first."""

    rule: str
    count: int = 0
    rows: list[int] = field(default_factory=list)
    said: str = ""

    def add(self, number: int, said: str = "") -> None:
        self.count += 1
        if len(self.rows) < NAMED:
            self.rows.append(number)
        self.said = self.said or said

    def plain(self) -> dict[str, Any]:
        return {"rule": self.rule, "count": self.count, "rows": self.rows}


@dataclass
class Report:
    """What reading a dataset found."""

    rows: int = 0  # read
    good: int = 0  # read and right
    wrong: dict[str, Finding] = field(default_factory=dict)  # by rule
    twice: Finding = field(default_factory=lambda: Finding("the same as an earlier row"))

    @property
    def bad(self) -> int:
        return self.rows - self.good

    def checked(self, rows: Iterable[Row | Wrong], shape: Shape) -> Iterator[Row]:
        """Each good row in TRL's form; what is wrong with the others, and what is there twice, is noted."""
        seen: set[int] = set()
        convert = shape.convert
        for number, row in enumerate(rows, 1):
            self.rows = number
            try:
                if isinstance(row, Wrong):
                    raise row
                made = convert(row)
            except Wrong as wrong:
                self.wrong.setdefault(wrong.rule, Finding(wrong.rule)).add(number, wrong.said)
                continue
            self.good += 1
            mark = hash(str(made))
            if mark in seen:
                self.twice.add(number)
            else:
                seen.add(mark)
            yield from made

    def problem(self, name: str, drop: bool) -> BadData | None:
        """Why training can't start with this; with `drop` wrong rows are no reason while enough are right."""
        short = short_name(name)
        if not self.rows:
            return BadData(f"{short} has no rows.", f"Training needs at least {LEAST}.", "data.empty")
        if self.wrong and not drop:
            number, first = min((one.rows[0], one) for one in self.wrong.values())
            more = f" {self.bad:,} of {self.rows:,} rows are wrong." if self.bad > 1 else ""
            hint = f"Correct or remove row {number}" if self.bad == 1 else "Correct them"
            return BadData(
                f"Row {number} of {short}{first.said}.{more}",
                f"{hint}, or set bad_rows to drop to leave {'it' if self.bad == 1 else 'them'} out.",
                "data.row",
            )
        if self.good < LEAST:
            few = f"{self.good} good row{'s' * (self.good != 1)} of {self.rows:,}" if self.wrong else f"{self.rows} row"
            return BadData(f"{short} has {few}.", f"Training needs at least {LEAST}.", "data.few")
        return None

    def plain(self) -> dict[str, Any]:
        """As JSON values; what is wrong most often comes first."""
        wrong = sorted(self.wrong.values(), key=lambda one: -one.count)
        return {
            "rows": self.rows,
            "good": self.good,
            "wrong": [one.plain() for one in wrong],
            "twice": self.twice.plain() if self.twice.count else None,
        }
