"""Training data: from a name to checked rows in TRL's form.

    loaded = data.read(params, WANTS)     every row read and checked; BadData names what is wrong
    loaded.dataset()                      as `datasets` has it
    learn, held = data.split(…)           what is learned from, and what is measured on

`WANTS` are the kinds of data (see `shapes`) that a method learns from, the most wanted first.
"""

from __future__ import annotations

import itertools
import random
import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.errors import BadData, NotFound
from backend.recipes.checking import LEAST, Report, Rules
from backend.recipes.params import TrainParams
from backend.recipes.reading import ENDINGS, Row, Wrong, is_local, rows_of, short_name
from backend.recipes.rows import ROLES
from backend.recipes.shapes import Kind, Shape, guess, recognise, roles
from backend.starter import locate

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset

__all__ = [
    "ENDINGS",
    "ROLES",
    "Kind",
    "Loaded",
    "Rules",
    "Shape",
    "check",
    "is_local",
    "look",
    "read",
    "short_name",
    "split",
]
LOOKED_AT = 20  # rows that are shown
_FIRST = 50  # rows that tell the shape
_CHUNK = 4096  # rows brought into their form at a time
_REMEMBER = 300.0  # seconds that what was seen of a Hub dataset is believed


@dataclass(frozen=True)
class Loaded:
    """A dataset in TRL's form, and what was found in it."""

    table: pyarrow.Table
    shape: Shape
    report: Report
    numbers: Sequence[int]  # of the row of the file that each row of the table comes from

    def dataset(self) -> Dataset:
        from datasets import Dataset

        return Dataset(self.table)

    def take(self, places: Sequence[int]) -> Loaded:
        """These rows of the table, in this order."""
        return Loaded(self.table.take(places), self.shape, self.report, [self.numbers[place] for place in places])


def rules(params: TrainParams) -> Rules:
    return Rules(params.bad_rows, params.same_rows)


def read(params: TrainParams, wants: Sequence[Kind]) -> Loaded:
    """The rows that `params` asks for, every one checked. Raises BadData, NotFound, Gated, HubError."""
    import pyarrow

    random_rows = params.pick_rows == "random"
    shape, rows = _begin(rows_of(params.dataset, params.dataset_split), params.dataset, wants, params.columns)
    report, fields = Report(), shape.fields()
    wanted = itertools.islice(rows, None if random_rows else params.max_rows or None)
    good = report.checked(wanted, shape, params.same_rows == "drop")
    batches, numbers = [], array("q")
    for part in _chunks(good, _CHUNK):
        batches.append(pyarrow.RecordBatch.from_pylist([row for _, row in part], schema=fields))
        numbers.extend(number for number, _ in part)
    if problem := report.problem(params.dataset, rules(params)):
        raise problem
    loaded = Loaded(pyarrow.Table.from_batches(batches, schema=fields), shape, report, numbers)
    if random_rows and 0 < params.max_rows < len(numbers):
        return loaded.take(sorted(random.Random(params.seed).sample(range(len(numbers)), params.max_rows)))
    return loaded


def check(params: TrainParams, wants: Sequence[Kind]) -> Shape | None:
    """The shape of a file whose rows have all been checked; None for a dataset on the Hub. Raises BadData, NotFound.

    A file that has not changed since it was last looked at is not read again.
    """
    if not is_local(params.dataset):
        return None
    first_rows = params.max_rows if params.pick_rows == "first" else 0
    seen = _survey(params.dataset, wants, params.columns, first_rows)
    if problem := seen.problem(params.dataset, rules(params)):
        raise problem
    return seen.shape


def look(
    name: str,
    wants: Sequence[Kind],
    limit: int = LOOKED_AT,
    columns: Mapping[str, str] | None = None,
    rules: Rules | None = None,
) -> dict[str, Any]:
    """What a person is told of a dataset before it is tuned on: see `Method.look`. Raises NotFound, Gated, HubError."""
    seen = _survey(name, wants, columns or {}, 0)
    rules = rules or Rules()
    problem = seen.problem(name, rules)
    return {
        "columns": seen.columns,
        "rows": seen.rows[:limit],
        "total": seen.total,
        "kept": None if seen.total is None else seen.report.kept(rules),
        "learned": None if seen.total is None else seen.report.learned(rules),
        "format": seen.shape.name if seen.shape else "",
        "kind": seen.shape.given if seen.shape else "",
        "problem": {"code": problem.code, "message": problem.message, "hint": problem.hint} if problem else None,
        "report": seen.report.plain(),
        "roles": roles(wants),
        "guess": guess(seen.columns, wants),
    }


def split(whole: Dataset, eval_rows: float, seed: int) -> tuple[Dataset, Dataset | None]:
    """(train, held out): `eval_rows` random rows, below 1 that share of all; at most half are held out."""
    held = min(int(eval_rows if eval_rows >= 1 else eval_rows * len(whole)), len(whole) // 2)
    if not held:
        return whole, None
    parts = whole.train_test_split(test_size=held, seed=seed)
    return parts["train"], parts["test"]


def fits(name: str, wants: Sequence[Kind]) -> bool:
    """Whether the first rows of a file are something to learn from, perhaps by other names for its columns."""
    try:
        begun = list(itertools.islice(rows_of(name), _FIRST))
        first = [row for row in begun if not isinstance(row, Wrong)]
        return bool(guess(dict.fromkeys(column for row in first for column in row), wants)) or bool(
            _recognised(begun, name, wants, {})
        )
    except (BadData, NotFound):
        return False


def shape_of(name: str, wants: Sequence[Kind], columns: Mapping[str, str] | None = None) -> Shape:
    """What the first rows of a file tell. Raises BadData, NotFound."""
    return _begin(rows_of(name), name, wants, columns or {})[0]


# -- looking ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Seen:
    """What one reading of a dataset tells. `trouble` is what can't be left out: of the file, or of its columns."""

    columns: list[str]
    rows: list[Row]
    total: int | None
    shape: Shape | None
    report: Report
    trouble: BadData | None

    def problem(self, name: str, rules: Rules) -> BadData | None:
        return self.trouble or self.report.problem(name, rules)


def _survey(name: str, wants: Sequence[Kind], columns: Mapping[str, str], max_rows: int) -> _Seen:
    version: tuple[float, ...]
    if is_local(name) and (path := Path(locate(name)).expanduser()).is_file():
        stat = path.stat()
        version = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
    else:
        version = (time.monotonic() // _REMEMBER,)
    return _surveyed(name, version, tuple(wants), tuple(columns.items()), max_rows)


@lru_cache(maxsize=64)
def _surveyed(
    name: str, version: tuple[float, ...], wants: tuple[Kind, ...], columns: tuple[tuple[str, str], ...], max_rows: int
) -> _Seen:
    """A file is read whole, of a dataset on the Hub as much as is shown. `version` is what a change changes."""
    begun: list[Row | Wrong] = []
    shape, trouble, report = None, None, Report()
    rows = rows_of(name, "train", streaming=True)
    if not is_local(name):
        rows = itertools.islice(rows, _FIRST)
    try:
        begun = list(itertools.islice(rows, _FIRST))
        try:
            shape = _recognised(begun, name, wants, dict(columns))
        except BadData as error:
            trouble = error
            report.rows = len(begun) + sum(1 for _ in rows)
        else:
            for _ in report.checked(itertools.islice(itertools.chain(begun, rows), max_rows or None), shape):
                pass
    except BadData as error:
        trouble = trouble or error
    first = [row for row in begun if not isinstance(row, Wrong)]
    names = list(dict.fromkeys(str(column) for row in first for column in row))
    total = report.rows if is_local(name) or report.rows < _FIRST else None
    return _Seen(names, first[:LOOKED_AT], total, shape, report, trouble)


def _begin(
    rows: Iterator[Row | Wrong], name: str, wants: Sequence[Kind], columns: Mapping[str, str]
) -> tuple[Shape, Iterator[Row | Wrong]]:
    """The shape that the first rows tell, and all rows. Raises BadData."""
    begun = list(itertools.islice(rows, _FIRST))
    return _recognised(begun, name, wants, columns), itertools.chain(begun, rows)


def _recognised(begun: Sequence[Row | Wrong], name: str, wants: Sequence[Kind], columns: Mapping[str, str]) -> Shape:
    first = [row for row in begun if not isinstance(row, Wrong)]
    if first:
        return recognise(first, name, wants, columns)
    for row in begun:
        if isinstance(row, Wrong):
            raise BadData(f"Row 1 of {short_name(name)}{row.said}.", "Correct row 1.", "data.row")
    raise BadData(f"{short_name(name)} has no rows.", f"Training needs at least {LEAST}.", "data.empty")


def _chunks(rows: Iterator[tuple[int, Row]], size: int) -> Iterator[list[tuple[int, Row]]]:
    while chunk := list(itertools.islice(rows, size)):
        yield chunk
