"""Datasets to look at: pages, figures, search, SQL, checks and reshaping, by name and for one owner.

A dataset's name is what the catalog knows (a sample, an upload of the owner's, a Hub id, a path on a server of one's
own); '' is the first sample. Filters travel as plain values, `{"column": …, "op": …, "value": …}`, and so do sorts,
`{"column": …, "descending": …}`. Every method raises LabError and nothing else.

The libraries below are loaded when the first dataset is opened: the page does not wait for them.
"""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.catalog import Catalog
from backend.door import door
from backend.errors import BadInput, LabError
from backend.settings import Settings
from backend.starter import SAMPLES
from backend.store import Store

if TYPE_CHECKING:
    from backend.tables.filters import Filter
    from backend.tables.pages import Sort
    from backend.tables.sources import Tables
    from backend.tables.table import Table

Say = Callable[[float, float], None]
FIRST = next(iter(SAMPLES))
OPEN = 64  # tables and figures of columns that are kept
HITS = 2_000  # matches of a search that can be filtered or sorted further
PRIVATE_NAMES = ("upload/", "sample/", "/", "~", ".")  # asked of the catalog each time: whose they are may matter


def _silent(done: float, total: float) -> None:
    """Progress that nobody looks at."""


class Data:
    """What has been opened, kept below the data folder's `tables`."""

    def __init__(self, settings: Settings, catalog: Catalog, store: Store) -> None:
        self._settings = settings
        self._catalog = catalog
        self._store = store
        self._lock = threading.Lock()
        self._tables: Tables | None = None
        self._opened: OrderedDict[Any, Table] = OrderedDict()
        self._figures: OrderedDict[Any, dict[str, Any]] = OrderedDict()
        self._stops: dict[str, threading.Event] = {}

    def close(self) -> None:
        """Let go of the database and of the processes that wait for work."""
        if self._tables is not None:
            from backend.tables import child

            self._tables.close()
            child.SPARES.close()

    # -- what there is ------------------------------------------------------------------------------------------

    @door
    def facts(self, dataset: str, owner: str, config: str = "", split: str = "") -> dict[str, Any]:
        """{dataset, rows, columns: [{name, type, kind, names?}], bytes, partial, notes, remote}.

        `bytes` is the size of the Parquet that is read, None for a remote one. Raises NotFound, BadData, HubError …
        """
        from backend.tables.pages import described

        table = self._table(dataset, owner, config, split)
        return {
            "dataset": table.name,
            "rows": table.rows,
            "columns": [described(column) for column in table.columns],
            "bytes": None if table.remote else sum(Path(file).stat().st_size for file in table.files),
            "partial": table.partial,
            "notes": list(table.notes),
            "remote": table.remote,
        }

    @door
    def splits(self, dataset: str, owner: str) -> dict[str, list[str]]:
        """{config: [split]} of a Hub dataset; empty for a file, which is one table. Raises NotFound, HubError."""
        name = dataset.strip() or FIRST
        if name.startswith(PRIVATE_NAMES):
            return {}
        from backend.tables import hub

        return hub.splits(self._catalog.dataset(name, owner), token=self._token())

    @door
    def bring(self, dataset: str, owner: str, config: str = "", split: str = "", say: Say = _silent) -> dict[str, Any]:
        """Have the first files of a Hub dataset on this machine, for search, SQL and checks; gives its facts."""
        table = self._table(dataset, owner, config, split)
        if table.remote:
            self._keep((table.name, config, split, ""), self._library().nearby(table, say))
        return self.facts(dataset, owner, config, split)

    # -- the grid -----------------------------------------------------------------------------------------------

    @door
    def rows(
        self,
        dataset: str,
        owner: str,
        config: str = "",
        split: str = "",
        offset: int = 0,
        length: int = 50,
        *,
        sort: Sequence[Mapping[str, Any]] = (),
        filters: Sequence[Mapping[str, Any]] = (),
        query: str = "",
        columns: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """{columns, rows: [[cell]], numbers: [row number], total, partial, by}; `by` tells how `query` was looked up.

        With a `query` the best match comes first where there is an index. Raises BadInput, NotFound.
        """
        from backend.tables import pages, search

        table = self._table(dataset, owner, config, split)
        asked, order = _filters(filters), _sorts(sort)
        if not query.strip():
            return pages.rows(table, offset, length, order, asked, columns) | {"by": ""}
        if not asked and not order:
            return search.search(table, query, None, offset, length, columns)
        found, total, by = _hits(table, query)
        note = f"the first {HITS:,} of {total:,} matches" if total > len(found) else ""
        if not found:
            return search.search(table, query, None, 0, length, columns)
        page = pages.rows(table, offset, length, order, (*asked, _numbered(found)), columns)
        return page | {"partial": "; ".join(filter(None, (page["partial"], note))), "by": by}

    @door
    def row(self, dataset: str, owner: str, config: str, split: str, number: int) -> dict[str, Any]:
        """{column: cell} of one whole row. Raises NotFound."""
        from backend.tables import pages

        return pages.row(self._table(dataset, owner, config, split), number)

    @door
    def thumbnails(
        self, dataset: str, owner: str, config: str, split: str, numbers: Sequence[int], column: str, side: int = 96
    ) -> dict[int, bytes]:
        """Pictures as WebP, at most `side` pixels wide and high, by row number; broken and missing ones left out."""
        from backend.tables import pages

        table, found = self._table(dataset, owner, config, split), {}
        for number in numbers:
            with suppress(LabError):
                found[number] = pages.thumbnail(table, number, column, side)
        return found

    @door
    def media(self, dataset: str, owner: str, config: str, split: str, number: int, column: str) -> bytes:
        """The bytes of one picture or sound. Raises NotFound, BadInput."""
        from backend.tables import pages

        return pages.media(self._table(dataset, owner, config, split), number, column)

    @door
    def stats(
        self, dataset: str, owner: str, config: str = "", split: str = "", column: str = "", whole: bool = False
    ) -> dict[str, Any]:
        """Figures of a column: {column, kind, rows, nulls, distinct, min, max, mean, histogram or top, partial}.

        Of a large table they are of the first rows, and `partial` says so, unless the `whole` is asked for.
        """
        from backend.tables import stats

        table = self._table(dataset, owner, config, split)
        key = (table.files, column, whole)
        if (known := self._figures.get(key)) is None:
            known = stats.column(table, column, whole=whole)
            with self._lock:
                self._figures[key] = known
                while len(self._figures) > OPEN * 20:
                    self._figures.popitem(last=False)
        return known

    @door
    def index(self, dataset: str, owner: str, config: str = "", split: str = "", say: Say = _silent) -> None:
        """Make the full-text index of all columns with text; searches are quick and ranked from then on."""
        from backend.tables import search

        search.index(self._table(dataset, owner, config, split), say=say)

    # -- filters as SQL, and SQL --------------------------------------------------------------------------------

    @door
    def condition(self, dataset: str, owner: str, config: str, split: str, filters: Sequence[Mapping[str, Any]]) -> str:
        """The filters as the SQL that stands behind WHERE."""
        from backend.tables.filters import where

        return where(_filters(filters), self._table(dataset, owner, config, split))

    @door
    def filters(self, dataset: str, owner: str, config: str, split: str, condition: str) -> list[dict[str, Any]]:
        """The filters that a condition says. Raises BadInput for one that only SQL can say."""
        from backend.tables.filters import parse

        return [asdict(one) for one in parse(condition, self._table(dataset, owner, config, split))]

    @door
    def sql(
        self, dataset: str, owner: str, config: str = "", split: str = "", query: str = "", ticket: str = ""
    ) -> dict[str, Any]:
        """{columns: [{name, type}], rows: [[cell]], truncated, seconds} of one SELECT over the table `data`.

        `stop(ticket)` ends it. Raises BadInput, NoRoom and `stopped.…`.
        """
        from backend.tables import sql

        table = self._table(dataset, owner, config, split)
        with self._going(ticket) as stop:
            return sql.run(table, query, stop=stop)

    @door
    def export(
        self, dataset: str, owner: str, config: str, split: str, query: str, path: Path, ticket: str = ""
    ) -> dict[str, Any]:
        """Write the result to `path`, which ends in .csv, .jsonl or .parquet; gives {rows, truncated, seconds}."""
        from backend.tables import export

        table, kind = self._table(dataset, owner, config, split), path.suffix.removeprefix(".")
        with self._going(ticket) as stop:
            return export.export(table, query, path, kind, stop=stop)  # type: ignore[arg-type]  # checked there

    def stop(self, ticket: str) -> None:
        """End what goes on under this ticket, if anything does."""
        if stop := self._stops.get(ticket):
            stop.set()

    # -- quality and shape --------------------------------------------------------------------------------------

    @door
    def check(
        self,
        dataset: str,
        owner: str,
        config: str,
        split: str,
        column: str,
        other: str = "",
        *,
        whole: bool = False,
        say: Say = _silent,
        ticket: str = "",
    ) -> list[dict[str, Any]]:
        """What may be wrong with a column: [{check, column, title, count, looked_at, sample, filters, detail}].

        With the name of an `other` dataset, also which rows are in that one. Raises BadInput, NotFound, `stopped.…`.
        """
        from backend.tables import quality

        table = self._table(dataset, owner, config, split)
        against = self._table(other, owner, "", "") if other else None
        with self._going(ticket) as stop:
            found = quality.check(table, column, other=against, whole=whole, say=say, stop=stop)
        return [asdict(one) for one in found]

    @door
    def preview(
        self, dataset: str, owner: str, config: str, split: str, steps: Sequence[Mapping[str, Any]]
    ) -> dict[str, Any]:
        """{columns, rows, from, to, split, code}: the steps tried on the first rows, and the Python that does them."""
        from backend.tables import shape

        table, done = self._table(dataset, owner, config, split), shape.steps(list(steps))
        others = self._others(steps, owner)
        return shape.preview(table, done, others) | {"code": shape.script(self._placed(table, owner), done, others)}

    @door
    def save(
        self,
        dataset: str,
        owner: str,
        config: str,
        split: str,
        steps: Sequence[Mapping[str, Any]],
        name: str = "",
        *,
        say: Say = _silent,
        ticket: str = "",
    ) -> list[str]:
        """Do the steps on all rows; gives the owner's new datasets, one for each split that came out."""
        from backend.tables import shape

        table, done = self._table(dataset, owner, config, split), shape.steps(list(steps))
        stem = Path(name.strip() or f"{Path(table.name).stem}-shaped").name.removesuffix(".parquet")
        folder = Path(tempfile.mkdtemp(dir=self._library().folder, prefix="shape-"))
        try:
            with self._going(ticket) as stop:
                made = shape.replay(table, done, folder, self._others(steps, owner), say, stop)
            alone = len(made) == 1
            return [
                self._store.upload(owner, path, f"{stem}.parquet" if alone else f"{stem}-{part}.parquet")
                for part, path in made.items()
            ]
        finally:
            shutil.rmtree(folder)

    @door
    def code(
        self,
        dataset: str,
        owner: str,
        config: str = "",
        split: str = "",
        *,
        offset: int = 0,
        length: int = 25,
        sort: Sequence[Mapping[str, Any]] = (),
        filters: Sequence[Mapping[str, Any]] = (),
        query: str = "",
        columns: Sequence[str] | None = None,
    ) -> str:
        """The plain Python, with `datasets`, that prints the same rows."""
        from backend.tables import search, shape

        table = self._placed(self._table(dataset, owner, config, split), owner)
        lines = [f"dataset = {table.load}"]
        if filters:
            lines += shape.Keep(filters=list(_filters(filters))).code().splitlines()
        if query.strip():
            names = [column.name for column in search.searched(table)]
            words = query.replace('"', "").lower().split()
            lines += [
                f"columns, words = {names!r}, {words!r}",
                "text = lambda row: ' '.join(str(row[name]) for name in columns).lower()",
                "dataset = dataset.filter(lambda row: all(word in text(row) for word in words))",
            ]
        if order := _sorts(sort):
            by, down = [one.column for one in order], [one.descending for one in order]
            lines += [f'dataset = dataset.sort({by!r}, reverse={down!r}, null_placement="at_end")']
        if columns is not None:
            lines += [f"dataset = dataset.select_columns({list(columns)!r})"]
        lines += [f"for row in dataset.skip({offset}).take({length}):", "    print(row)"]
        heads = ["from datasets import load_dataset", ""]
        if "pandas." in lines[0]:
            heads = ["import pandas", "from datasets import Dataset", ""]
        if any("re.search(" in line for line in lines):
            heads = ["import re", "", *heads]
            lines = [line for line in lines if line != "import re"]
        return "\n".join([*heads, *lines]) + "\n"

    # -- below --------------------------------------------------------------------------------------------------

    def _library(self) -> Tables:
        from backend.tables import child
        from backend.tables.sources import Tables

        with self._lock:
            if self._tables is None:
                self._tables = Tables(self._settings.home / "tables")
                threading.Thread(target=child.SPARES.prepare, args=("backend.tables.sql",), daemon=True).start()
            return self._tables

    def _table(self, dataset: str, owner: str, config: str, split: str) -> Table:
        """Opened once and kept; whether `owner` may is asked every time."""
        name = dataset.strip() or FIRST
        place = self._catalog.dataset(name, owner) if name.startswith(PRIVATE_NAMES) else ""
        key = (name, config, split, _version(place))
        with self._lock:
            if key in self._opened:
                self._opened.move_to_end(key)
                return self._opened[key]
        table = self._library().open(
            place or self._catalog.dataset(name, owner),
            config,
            split,
            token=self._token(),
            in_place=name.startswith(("/", "~", ".")),
        )
        return self._keep(key, replace(table, name=name))

    def _keep(self, key: tuple[str, str, str, str], table: Table) -> Table:
        with self._lock:
            self._opened[key] = table
            while len(self._opened) > OPEN:
                self._opened.popitem(last=False)
        return table

    def _token(self) -> str | None:
        """The server's own sign-in serves its owner alone."""
        return None if self._settings.public else self._settings.env.get("HF_TOKEN")

    def _placed(self, table: Table, owner: str) -> Table:
        """On a server of one's own, the Python that loads it names this disk."""
        if self._settings.public or not table.name.startswith(PRIVATE_NAMES):
            return table
        path = Path(SAMPLES.get(table.name) or self._catalog.dataset(table.name, owner))
        written = json.dumps(path.name, ensure_ascii=False)
        return replace(table, load=table.load.replace(written, json.dumps(str(path), ensure_ascii=False)))

    def _others(self, steps: Sequence[Mapping[str, Any]], owner: str) -> list[Table]:
        names = {str(step.get("dataset", "")) for step in steps if step.get("do") == "concatenate"}
        return [self._table(name, owner, "", "") for name in sorted(names) if name]

    @contextmanager
    def _going(self, ticket: str) -> Iterator[threading.Event]:
        """While it goes on, `stop(ticket)` sets the event; a later one under the same ticket ends this one."""
        ticket = ticket or secrets.token_hex(8)
        self.stop(ticket)
        stop = self._stops[ticket] = threading.Event()
        try:
            yield stop
        finally:
            if self._stops.get(ticket) is stop:
                del self._stops[ticket]


def _version(place: str) -> str:
    """Changes when a file of one's own does."""
    path = Path(place)
    return str(path.stat().st_mtime_ns) if path.is_absolute() and path.exists() else ""


def _filters(given: Sequence[Mapping[str, Any]]) -> tuple[Filter, ...]:
    from backend.tables.filters import OPS, Filter

    found = []
    for one in given:
        value = one.get("value")
        value = tuple(value) if isinstance(value, list | tuple) else value
        parts = value if isinstance(value, tuple) else (value,)
        if one.get("op") not in OPS or not all(part is None or isinstance(part, str | int | float) for part in parts):
            raise BadInput(f"{str(dict(one))[:120]} is not a filter.", f"Give column, value and op: {', '.join(OPS)}.")
        found.append(Filter(str(one.get("column", "")), one["op"], value))
    return tuple(found)


def _numbered(numbers: Sequence[int]) -> Filter:
    from backend.tables.filters import Filter
    from backend.tables.table import ROW

    return Filter(ROW, "in", tuple(numbers))


def _sorts(given: Sequence[Mapping[str, Any]]) -> tuple[Sort, ...]:
    from backend.tables.pages import Sort

    return tuple(Sort(str(one.get("column", "")), bool(one.get("descending"))) for one in given)


def _hits(table: Table, query: str) -> tuple[list[int], int, str]:
    """Row numbers of the first matches, how many there are in all, and how they were found."""
    from backend.tables import search
    from backend.tables.pages import LENGTH

    small = [min(table.columns, key=lambda column: column.kind in ("text", "chat", "nested", "image", "audio")).name]
    numbers: list[int] = []
    while True:
        page = search.search(table, query, None, len(numbers), LENGTH, small)
        numbers += page["numbers"]
        if len(page["numbers"]) < LENGTH or len(numbers) >= HITS:
            return numbers, page["total"], page["by"]
