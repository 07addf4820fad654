"""Choosing the better of two answers, row by row; what was chosen is kept at once, so one goes on where one stopped.

home/pairs/KEY.jsonl     a line for each choice: {"row": 3, "chose": "first", "at": …}; the last one of a row holds
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from backend.data.opened import Opened
from backend.data.source import Source
from backend.door import door
from backend.errors import BadInput
from backend.store import Store, room

if TYPE_CHECKING:
    from backend.tables.table import Table

Choice = Literal["first", "second", "skip", "undo"]


@dataclass(frozen=True)
class Columns:
    """Where the prompt and the two answers are; the prompt may be '' for none."""

    prompt: str
    first: str
    second: str


class Pairs:
    """One visitor's choices over the columns of one dataset are one file."""

    def __init__(self, opened: Opened, store: Store) -> None:
        self._opened = opened
        self._store = store

    @door
    def next(self, source: Source, columns: Columns) -> dict[str, Any]:
        """{row, prompt, left, right, turned, chosen, skipped, total}: the first row without a choice; `row` is None at
        the end. `turned` tells that the second answer is shown on the left: which side is drawn by the row's number.
        """
        from backend.tables import pages

        table = self._checked(source, columns)
        made = self._choices(source, columns, table)
        row = next((number for number in range(table.rows) if number not in made), None)
        counts = list(made.values())
        told: dict[str, Any] = {
            "row": row,
            "chosen": sum(chose != "skip" for chose in counts),
            "skipped": counts.count("skip"),
            "total": table.rows,
        }
        if row is None:
            return told | {"prompt": "", "left": "", "right": "", "turned": False}
        cells = pages.row(table, row)
        turned = hashlib.sha256(f"{table.name} {row}".encode()).digest()[0] % 2 == 1
        first, second = cells[columns.first], cells[columns.second]
        return told | {
            "prompt": cells[columns.prompt] if columns.prompt else "",
            "left": second if turned else first,
            "right": first if turned else second,
            "turned": turned,
        }

    @door
    def choose(self, source: Source, columns: Columns, row: int, choice: Choice) -> dict[str, Any]:
        """Keep a choice and give what `next` gives; `undo` takes the last one back. Raises BadInput, NotFound."""
        if choice not in get_args(Choice):
            raise BadInput(f"{choice!r} is no choice.", f"Use one of {', '.join(get_args(Choice))}.")
        table = self._checked(source, columns)
        made = self._choices(source, columns, table)
        if choice == "undo":
            row = next(reversed(made), -1)
        if 0 <= row < table.rows:
            line = json.dumps({"row": row, "chose": choice, "at": time.time()}) + "\n"
            with room(self._store.home), self._file(source, columns, table).open("a") as file:
                file.write(line)
        return self.next(source, columns)

    @door
    def save(self, source: Source, columns: Columns, name: str = "") -> str:
        """The rows with a choice as a dataset of the owner's with `prompt`, `chosen` and `rejected`; gives its name."""
        import duckdb
        import pyarrow as pa
        import pyarrow.parquet as pq

        from backend.tables.table import quoted

        table = self._checked(source, columns)
        made = {row: chose for row, chose in self._choices(source, columns, table).items() if chose != "skip"}
        if not made:
            raise BadInput("No answer is chosen yet.", "Choose at least one.")
        if table.remote:
            raise BadInput(f"{table.name} is on the Hub.", "Bring a part of it here first.")
        numbers, firsts = list(made), [chose == "first" for chose in made.values()]
        with tempfile.TemporaryDirectory(dir=self._opened.library().folder, prefix="shape-") as folder:
            file = Path(folder) / "pairs.parquet"
            with duckdb.connect(":memory:") as connection:
                connection.register("made", pa.table({"number": numbers, "picked": firsts}))
                first, second = quoted(columns.first), quoted(columns.second)
                prompt = f"{quoted(columns.prompt)} AS prompt, " if columns.prompt else ""
                found = connection.sql(
                    f"SELECT {prompt}CASE WHEN picked THEN {first} ELSE {second} END AS chosen, "
                    f"CASE WHEN picked THEN {second} ELSE {first} END AS rejected "
                    f"FROM {table.scan()} AS t JOIN made ON made.number = t._row ORDER BY t._row"
                ).to_arrow_table()
                pq.write_table(found, file)
            stem = Path(name.strip() or f"{Path(table.name).stem}-pairs").name.removesuffix(".parquet")
            return self._store.upload(source.owner, file, f"{stem}.parquet")

    # -- below --------------------------------------------------------------------------------------------------

    def _checked(self, source: Source, columns: Columns) -> Table:
        table = self._opened.table(source)
        for name in (columns.first, columns.second, *([columns.prompt] if columns.prompt else [])):
            table.column(name)
        if columns.first == columns.second:
            raise BadInput(f"Both answers are the column {columns.first!r}.", "Choose two columns.")
        return table

    def _choices(self, source: Source, columns: Columns, table: Table) -> dict[int, str]:
        """{row: first, second or skip}, in the order they were made."""
        made: dict[int, str] = {}
        file = self._file(source, columns, table)
        for line in file.read_text().splitlines() if file.exists() else ():
            told = json.loads(line)
            made.pop(told["row"], None)
            if told["chose"] != "undo":
                made[told["row"]] = told["chose"]
        return made

    def _file(self, source: Source, columns: Columns, table: Table) -> Path:
        """Of another version of the rows the choices are others."""
        named = [source.owner, table.name, source.config, source.split, table.rows, *vars(columns).values()]
        key = hashlib.sha256(json.dumps(named).encode()).hexdigest()[:24]
        folder = self._store.home / "pairs"
        folder.mkdir(exist_ok=True)
        return folder / f"{key}.jsonl"
