"""Datasets to look at, by name and for one owner: pages, figures, search, SQL and checks.

    data.rows(Source("sample/facts", owner))      a page; every other question is asked the same way
    data.hub                                      what the Hub has: search, cards, revisions
    data.shape                                    reshaping, saving, publishing
    data.pairs                                    choosing the better of two answers

A dataset's name is what the catalog knows (a sample, an upload of the owner's, what a run of theirs made, a Hub id, a
path on a server of one's own). Filters travel as plain values, `{"column": …, "op": …, "value": …}`, and so do sorts,
`{"column": …, "descending": …}`. Every method raises LabError and nothing else.

The libraries below are loaded when the first dataset is opened: the page does not wait for them.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from backend.catalog import Catalog
from backend.data import asked
from backend.data.hub import Hub
from backend.data.opened import OWN, Opened
from backend.data.pairs import Pairs
from backend.data.shaping import Shaping
from backend.data.source import Source
from backend.door import door
from backend.errors import BadInput, LabError, NotFound, NotYours
from backend.recipes.quality import FINDINGS
from backend.settings import Settings
from backend.store import Store

__all__ = ["Data", "Source"]

Say = Callable[[float, float], None]
FIGURES = 1_280  # figures of columns that are kept


def silent(done: float, total: float) -> None:
    """Progress that nobody looks at."""


class Data:
    """What has been opened, kept below the data folder's `tables`."""

    def __init__(self, settings: Settings, catalog: Catalog, store: Store) -> None:
        self._opened = Opened(settings, catalog)
        self._store = store
        self._lock = threading.Lock()
        self._figures: OrderedDict[Any, dict[str, Any]] = OrderedDict()
        self.hub = Hub(self._opened)
        self.shape = Shaping(self._opened, store)
        self.pairs = Pairs(self._opened, store)

    def close(self) -> None:
        """Let go of the database and of the processes that wait for work."""
        self._opened.close()

    def stop(self, ticket: str) -> bool:
        """End what goes on under this ticket; whether anything does."""
        return self._opened.stop(ticket)

    # -- what there is ------------------------------------------------------------------------------------------

    @door
    def facts(self, source: Source) -> dict[str, Any]:
        """{dataset, rows, columns: [{name, type, kind, names?}], bytes, partial, notes, remote}.

        `bytes` is the size of the Parquet that is read, None for a remote one. Raises NotFound, BadData, HubError …
        """
        from backend.tables.pages import described

        table = self._opened.table(source)
        return {
            "dataset": table.name,
            "rows": table.rows,
            "columns": [described(column) for column in table.columns],
            "bytes": None if table.remote else sum(Path(file).stat().st_size for file in table.files),
            "partial": table.partial,
            "notes": list(table.notes),
            "remote": table.remote,
            "hub": not table.name.startswith(OWN),
        }

    @door
    def bring(self, source: Source, say: Say = silent) -> dict[str, Any]:
        """Have the first files of a Hub dataset on this machine, for search, SQL and checks; gives its facts."""
        self._opened.bring(source, say)
        return self.facts(source)

    # -- the grid -----------------------------------------------------------------------------------------------

    @door
    def rows(
        self,
        source: Source,
        offset: int = 0,
        length: int = 50,
        *,
        sort: Sequence[Mapping[str, Any]] = (),
        filters: Sequence[Mapping[str, Any]] = (),
        query: str = "",
        within: Sequence[str] = (),
        columns: Sequence[str] | None = None,
    ) -> dict[str, Any]:
        """{columns, rows: [[cell]], numbers: [row number], total, partial, by}; `by` tells how `query` was looked up.

        `within` names the columns that are searched, none of them all. With a `query` the best match comes first where
        there is an index. Raises BadInput, NotFound.
        """
        from backend.tables import pages, search

        table = self._opened.table(source)
        narrowed, order, places = asked.filters(filters), asked.sorts(sort), list(within) or None
        if not query.strip():
            return pages.rows(table, offset, length, order, narrowed, columns) | {"by": ""}
        if not narrowed and not order:
            return search.search(table, query, places, offset, length, columns)
        found, total, by = search.hits(table, query, places)
        note = f"the first {len(found):,} of {total:,} matches" if total > len(found) else ""
        if not found:
            return search.search(table, query, places, 0, length, columns)
        page = pages.rows(table, offset, length, order, (*narrowed, asked.numbered(found)), columns)
        return page | {"partial": "; ".join(filter(None, (page["partial"], note))), "by": by}

    @door
    def row(self, source: Source, number: int) -> dict[str, Any]:
        """{column: cell} of one whole row. Raises NotFound."""
        from backend.tables import pages

        return pages.row(self._opened.table(source), number)

    @door
    def thumbnails(self, source: Source, numbers: Sequence[int], column: str, side: int = 96) -> dict[int, bytes]:
        """Pictures as WebP, at most `side` pixels wide and high, by row number; broken and missing ones left out."""
        from backend.tables import pages

        table, found = self._opened.table(source), {}
        for number in numbers:
            with suppress(LabError):
                found[number] = pages.thumbnail(table, number, column, side)
        return found

    @door
    def media(self, source: Source, number: int, column: str) -> bytes:
        """The bytes of one picture or sound. Raises NotFound, BadInput."""
        from backend.tables import pages

        return pages.media(self._opened.table(source), number, column)

    @door
    def stats(
        self, source: Source, column: str = "", filters: Sequence[Mapping[str, Any]] = (), whole: bool = False
    ) -> dict[str, Any]:
        """Figures of a column: {column, kind, rows, nulls, distinct, min, max, mean, histogram or top, partial}.

        Of a large table they are of the first rows, and `partial` says so, unless the `whole` is asked for.
        """
        from backend.tables import stats

        table, narrowed = self._opened.table(source), asked.filters(filters)
        return self._known(
            (table.files, column, narrowed, whole), lambda: stats.column(table, column, narrowed, whole=whole)
        )

    @door
    def tokens(self, source: Source, column: str, model: str = "") -> dict[str, Any]:
        """{rows, nulls, histogram, min, max, mean, p95, partial}: tokens of each text under a model's tokenizer.

        An empty model is the starter. Raises BadInput, NotFound, Gated, HubError.
        """
        from backend.tables import tokens

        table, place = self._opened.table(source), self._opened.tokenizer(model, self._opened.token(source))
        return self._known((table.files, column, str(place)), lambda: tokens.lengths(table, column, place))

    @door
    def index(self, source: Source, within: Sequence[str] = (), say: Say = silent, ticket: str = "") -> None:
        """Make the full-text index of the named columns, or of all with text; searches are quick and ranked then."""
        from backend.tables import search

        with self._opened.going(ticket) as stop:
            search.index(self._opened.table(source), list(within) or None, say=say, stop=stop)

    @door
    def code(
        self,
        source: Source,
        *,
        offset: int = 0,
        length: int = 25,
        sort: Sequence[Mapping[str, Any]] = (),
        filters: Sequence[Mapping[str, Any]] = (),
        query: str = "",
        within: Sequence[str] = (),
        columns: Sequence[str] | None = None,
    ) -> str:
        """The plain Python, with `datasets`, that prints the same rows."""
        from backend.tables import script

        table = self._opened.placed(self._opened.table(source), source.owner)
        narrowed, order = asked.filters(filters), asked.sorts(sort)
        return script.rows(table, offset, length, order, narrowed, query, list(within) or None, columns)

    @door
    def carried(
        self,
        source: Source,
        filters: Sequence[Mapping[str, Any]] = (),
        query: str = "",
        within: Sequence[str] = (),
        *,
        say: Say = silent,
        ticket: str = "",
    ) -> str:
        """The name under which a run reads these rows.

        It is the dataset's own, with the part that is meant. Rows that filters and a search leave are saved first, as
        a dataset of the owner's, and so is what only their sign-in may read: a run has none. Raises BadInput for more
        than a search tells, or for a Hub dataset that is not here, NoRoom, `stopped.…`.
        """
        from backend.tables import search

        narrowed = list(filters)
        if query.strip():
            found, total, _ = search.hits(self._opened.table(source), query, list(within) or None)
            if total > len(found):
                raise BadInput(
                    f"The search finds {total:,} rows; {len(found):,} can go along.",
                    "Add a filter, or use a filter alone.",
                )
            narrowed.append({"column": "_row", "op": "in", "value": found})
        if not narrowed and self.hub.open_to_all(source):
            return self.hub.named(source)
        if not narrowed:
            self._opened.bring(source, say)
        steps = [{"do": "filter", "filters": narrowed}] if narrowed else []
        name = f"{Path(source.dataset).stem}-{'selection' if narrowed else 'copy'}"
        return self.shape.save(source, steps, name, say=say, ticket=ticket)[0]

    # -- filters as SQL, and SQL --------------------------------------------------------------------------------

    @door
    def condition(self, source: Source, filters: Sequence[Mapping[str, Any]]) -> str:
        """The filters as the SQL that stands behind WHERE."""
        from backend.tables.filters import where

        return where(asked.filters(filters), self._opened.table(source))

    @door
    def filters(self, source: Source, condition: str) -> list[dict[str, Any]]:
        """The filters that a condition says. Raises BadInput for one that only SQL can say."""
        from backend.tables.filters import parse

        return [asdict(one) for one in parse(condition, self._opened.table(source))]

    @door
    def sql(
        self, source: Source, query: str = "", ticket: str = "", *, rows: int = 1_000, count: bool = False
    ) -> dict[str, Any]:
        """{columns: [{name, type}], rows: [[cell]], truncated, seconds} of one SELECT over the table `data`.

        At most so many `rows`; asked to `count`, also the `total` when there are more. `stop(ticket)` ends it. Raises
        BadInput, NoRoom and `stopped.…`.
        """
        from backend.tables import sql

        table = self._opened.table(source)
        with self._opened.going(ticket) as stop:
            return sql.run(table, query, rows, stop=stop, count=count)

    @door
    def export(self, source: Source, query: str, path: Path, ticket: str = "") -> dict[str, Any]:
        """Write the result to `path`, which ends in .csv, .jsonl or .parquet; gives {rows, truncated, seconds}."""
        from backend.tables import export

        table, kind = self._opened.table(source), path.suffix.removeprefix(".")
        with self._opened.going(ticket) as stop:
            return export.export(table, query, path, kind, stop=stop)  # type: ignore[arg-type]  # checked there

    # -- quality ------------------------------------------------------------------------------------------------

    @door
    def check(
        self,
        source: Source,
        column: str,
        other: str = "",
        *,
        whole: bool = False,
        say: Say = silent,
        ticket: str = "",
    ) -> list[dict[str, Any]]:
        """What may be wrong with a column: [{check, column, title, count, looked_at, sample, filters, detail}].

        With the name of an `other` dataset, also which rows are in that one; `other` may name a split of the same
        dataset after a colon, as `owner/name:test`. Raises BadInput, NotFound, `stopped.…`.
        """
        from backend.tables import quality

        table = self._opened.table(source)
        against = self._opened.table(asked.other(source, other)) if other else None
        with self._opened.going(ticket) as stop:
            found = quality.check(table, column, other=against, whole=whole, say=say, stop=stop)
        return [asdict(one) for one in found]

    @door
    def findings(self, run_id: str, owner: str) -> list[dict[str, Any]]:
        """What a run of checks found, as `check` gives it. Raises NotFound, NotYours."""
        run = self._store.run(run_id)
        if run.job.owner != owner:
            raise NotYours("This run is not yours.", "Open one from your own Runs list.")
        file = run.folder / FINDINGS
        if not file.exists():
            raise NotFound(f"Run {run_id[:40]} has found nothing yet.", "Wait until it has finished.")
        found: list[dict[str, Any]] = json.loads(file.read_text())
        return found

    # -- below --------------------------------------------------------------------------------------------------

    def _known(self, key: Any, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What was worked out before, or is now."""
        with self._lock:
            if (known := self._figures.get(key)) is not None:
                return known
        known = work()
        with self._lock:
            self._figures[key] = known
            while len(self._figures) > FIGURES:
                self._figures.popitem(last=False)
        return known
