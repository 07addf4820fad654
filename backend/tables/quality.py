"""What is wrong with a dataset: duplicates, leaks, empty and odd lengths, languages, personal data.

Each finding counts rows, names some, and gives the filter that shows them. Duplicates leave the first of each group
out: the rows found are those to drop. Works in a process of its own; `say` tells how far it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from backend.errors import BadInput
from backend.tables import child
from backend.tables.filters import Filter
from backend.tables.table import ROW, Column, Table, quoted

# the model of languages is unpacked to a file
LIMITS = child.Limits(seconds=3600, memory=4 << 30, file=512 << 20, nice=5, hint="Check a part of the rows.")
CHECKS = ("empty", "short", "long", "exact", "near", "leaks", "language", "email", "phone", "card", "key")
PART = 200_000  # rows looked at by the slow checks unless the whole is asked for
LANGUAGE_PART = 2_000
SHORT, LONG = 3, 20_000  # characters
ALIKE = 0.7  # share of runs of three words, of all of two texts, that makes them near duplicates
SAMPLE = 20
PATTERNS = {
    "email": r"[A-Za-z0-9._%+\-]+@[A-Za-z0-9\-]+(\.[A-Za-z0-9\-]+)*\.[A-Za-z]{2,}",
    "phone": r"(\+\d{1,3}[\s.\-]?)(\(?\d{1,4}\)?[\s.\-]?){2,5}\d{2,4}\b"
    r"|\(\d{3}\)\s?\d{3}[\s.\-]\d{4}\b|\b\d{3}[.\-]\d{3}[.\-]\d{4}\b",
    "card": r"\b\d(?:[ \-]?\d){12,18}\b",  # and its check digit
    "key": r"\b(hf_[A-Za-z0-9]{20,}|sk-[A-Za-z0-9_\-]{20,}|gh[pousr]_[A-Za-z0-9]{30,}|AKIA[0-9A-Z]{16}"
    r"|xox[abprs]-[A-Za-z0-9\-]{10,})|-----BEGIN [A-Z ]*PRIVATE KEY-----",
}
TITLES = {
    "empty": "empty",
    "short": f"shorter than {SHORT} characters",
    "long": f"longer than {LONG:,} characters",
    "exact": "the same as an earlier row",
    "near": "nearly the same as an earlier row",
    "leaks": "also in the other table",
    "language": "in another language than most",
    "email": "with an e-mail address",
    "phone": "with a phone number",
    "card": "with a card number",
    "key": "with a secret key",
}


@dataclass(frozen=True)
class Finding:
    """`count` of the `looked_at` first rows; `sample` are row numbers, `filters` show all (or the first 10,000)."""

    check: str
    column: str
    title: str
    count: int
    looked_at: int
    sample: tuple[int, ...]
    filters: tuple[Filter, ...]
    detail: dict[str, Any]


def check(
    table: Table,
    column: str,
    checks: Sequence[str] = CHECKS,
    other: Table | None = None,
    whole: bool = False,
    say: child.Say = child.silent,
    stop: child.Stop | None = None,
) -> list[Finding]:
    """Findings about one column with text or chats, one for each check, those of nothing included.

    `leaks` compares with the same column of `other` and is left out without one. Raises BadInput, NotFound.
    """
    if unknown := set(checks) - set(CHECKS):
        raise BadInput(f"There is no check {sorted(unknown)[0]!r}.", f"Use some of {', '.join(CHECKS)}.")
    if table.remote or (other and other.remote):
        raise BadInput("A table on the Hub can't be checked.", "Bring a part of it here first.")
    request: dict[str, Any] = {
        "checks": [name for name in checks if name != "leaks" or other],
        "text": _text(table.column(column)),
        "part": table.part(None if whole else PART),
        "languages": table.part(LANGUAGE_PART),
    }
    if other is not None:
        request |= {"other": other.part(None if whole else PART)[0], "other_text": _text(other.column(column))}
    plain = table.column(column).kind == "text"
    return [
        _finding(told, column, plain) for told in child.run("backend.tables.inspection", request, LIMITS, say, stop)
    ]


def _text(column: Column) -> str:
    """The column as text in SQL."""
    name = quoted(column.name)
    if column.kind == "text":
        return name
    if column.kind == "chat":
        return f"array_to_string(list_transform({name}, lambda x: x.content), chr(10))"
    return f"CAST({name} AS VARCHAR)"


def _finding(told: dict[str, Any], column: str, plain: bool) -> Finding:
    name, rows = told["check"], tuple(told["rows"])
    filters = (Filter(ROW, "in", rows),) if rows else ()
    if plain and name in ("email", "phone", "key"):
        filters = (Filter(column, "matches", PATTERNS[name]),)
    return Finding(name, column, TITLES[name], told["count"], told["looked_at"], rows[:SAMPLE], filters, told["detail"])


def luhn(number: str) -> bool:
    """Whether the digits could be a card's: their check digit holds."""
    digits = [int(c) for c in number if c.isdigit()]
    doubled = [sum(divmod(2 * d, 10)) if i % 2 else d for i, d in enumerate(reversed(digits))]
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and sum(doubled) % 10 == 0
