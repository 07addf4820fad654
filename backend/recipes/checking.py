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


@dataclass(frozen=True)
class Rules:
    """What becomes of rows in which something is found: fields of `TrainParams` by the same names."""

    bad_rows: str = "stop"  # or drop
    same_rows: str = "keep"  # or drop, stop


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
    made: int = 0  # of the good ones, in TRL's form: a pair can become two
    again: int = 0  # of these, those of rows that are there twice
    wrong: dict[str, Finding] = field(default_factory=dict)  # by rule
    twice: Finding = field(default_factory=lambda: Finding("the same as an earlier row"))

    @property
    def bad(self) -> int:
        return self.rows - self.good

    def checked(self, rows: Iterable[Row | Wrong], shape: Shape, once: bool = False) -> Iterator[tuple[int, Row]]:
        """(number, row) of each good row in TRL's form; with `once`, not those that are the same as an earlier one.

        What is wrong with the others, and what is there twice, is noted.
        """
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
            self.made += len(made)
            mark = hash(str(made))
            if mark in seen:
                self.twice.add(number)
                self.again += len(made)
                if once:
                    continue
            else:
                seen.add(mark)
            for one in made:
                yield number, one

    def kept(self, rules: Rules) -> int:
        """Rows that are learned from."""
        return self.good - (self.twice.count if rules.same_rows == "drop" else 0)

    def learned(self, rules: Rules) -> int:
        """What these rows become in TRL's form."""
        return self.made - (self.again if rules.same_rows == "drop" else 0)

    def problem(self, name: str, rules: Rules) -> BadData | None:
        """Why training can't start with this; rows that are left out are no reason while enough are kept."""
        short = short_name(name)
        if not self.rows:
            return BadData(f"{short} has no rows.", f"Training needs at least {LEAST}.", "data.empty")
        if self.wrong and rules.bad_rows != "drop":
            number, first = min((one.rows[0], one) for one in self.wrong.values())
            more = f" {self.bad:,} of {self.rows:,} rows are wrong." if self.bad > 1 else ""
            hint = f"Correct or remove row {number}" if self.bad == 1 else "Correct them"
            return BadData(
                f"Row {number} of {short}{first.said}.{more}",
                f"{hint}, or set bad_rows to drop to leave {'it' if self.bad == 1 else 'them'} out.",
                "data.row",
            )
        if self.twice.count and rules.same_rows == "stop":
            many = f" {self.twice.count:,} of {self.rows:,} rows are." if self.twice.count > 1 else ""
            return BadData(
                f"Row {self.twice.rows[0]} of {short} is the same as an earlier row.{many}",
                "Remove what is there twice, or set same_rows to drop, which leaves it out, or to keep.",
                "data.twice",
            )
        if (kept := self.kept(rules)) < LEAST:
            few = f"{kept} good row{'s' * (kept != 1)} of {self.rows:,}" if self.rows > kept else f"{self.rows} row"
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
