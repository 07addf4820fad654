"""Reshaping: steps tried, replayed on everything, saved as a dataset here or published on the Hub."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.data import asked
from backend.data.opened import Opened
from backend.data.source import Source
from backend.door import door
from backend.errors import LabError
from backend.store import Store

if TYPE_CHECKING:
    from backend.tables.table import Table

Steps = Sequence[Mapping[str, Any]]
Say = Callable[[float, float], None]


def silent(done: float, total: float) -> None:
    """Progress that nobody looks at."""


class Shaping:
    """Steps are plain values, `{"do": "rename", "columns": {…}}`; no steps are the dataset as it is."""

    def __init__(self, opened: Opened, store: Store) -> None:
        self._opened = opened
        self._store = store

    @door
    def preview(self, source: Source, steps: Steps) -> dict[str, Any]:
        """{columns, rows, from, to, split, code}: the steps tried on the first rows, and the Python that does them."""
        from backend.tables import shape

        table, done = self._opened.table(source), shape.steps(list(steps))
        others = self._others(steps, source)
        return shape.preview(table, done, others) | {"code": self._script(table, done, others, source.owner)}

    @door
    def save(self, source: Source, steps: Steps, name: str = "", *, say: Say = silent, ticket: str = "") -> list[str]:
        """Do the steps on all rows; gives the owner's new datasets, one for each split that came out."""
        table = self._opened.table(source)
        stem = Path(name.strip() or f"{Path(table.name).stem}-shaped").name.removesuffix(".parquet")
        with self._made(source, table, steps, say, ticket) as made:
            alone = len(made) == 1
            return [
                self._store.upload(source.owner, path, f"{stem}.parquet" if alone else f"{stem}-{part}.parquet")
                for part, path in made.items()
            ]

    @door
    def card(self, source: Source, steps: Steps, repository: str, licence: str = "") -> str:
        """A first README for what `publish` sends, to be changed by hand: where it comes from and the Python."""
        from backend.tables import publishing, shape

        table, done = self._opened.table(source), shape.steps(list(steps))
        code = self._script(replace(table, name=""), done, self._others(steps, source), source.owner)
        return publishing.card(table, repository, done, code, licence)

    @door
    def publish(
        self,
        source: Source,
        steps: Steps,
        repository: str,
        card: str = "",
        private: bool = True,
        *,
        say: Say = silent,
        ticket: str = "",
    ) -> str:
        """Do the steps on all rows and push them to the visitor's dataset repository, with its card; gives its address.

        Raises BadInput, Gated when the sign-in may not write there, HubError, NotFound.
        """
        from backend.recipes.loading import hub_errors
        from backend.tables import publishing

        token = self._opened.token(source)
        if not token:
            raise LabError(
                "You are not signed in to Hugging Face.",
                "Sign in at the top of the page; on a server of your own, set HF_TOKEN.",
                "hub.signed_out",
            )
        publishing.check(repository)
        table = self._opened.table(source)
        with self._made(source, table, steps, say, ticket) as made, hub_errors(repository):
            api = self._opened.catalog.ask_hub(repository)
            return publishing.push(api, token, repository, made, card, private, say)

    # -- below --------------------------------------------------------------------------------------------------

    @contextmanager
    def _made(self, source: Source, table: Table, steps: Steps, say: Say, ticket: str) -> Iterator[dict[str, Path]]:
        """{split: Parquet file} after the steps, there until the block is left."""
        from backend.tables import shape

        done = shape.steps(list(steps))
        folder = Path(tempfile.mkdtemp(dir=self._opened.library().folder, prefix="shape-"))
        try:
            with self._opened.going(ticket) as stop:
                yield shape.replay(table, done, folder, self._others(steps, source), say, stop)
        finally:
            shutil.rmtree(folder)

    def _script(self, table: Table, done: Any, others: Sequence[Table], owner: str) -> str:
        from backend.tables import shape

        return shape.script(self._opened.placed(table, owner), done, others)

    def _others(self, steps: Steps, source: Source) -> list[Table]:
        names = {str(step.get("dataset", "")) for step in steps if step.get("do") == "concatenate"}
        found = []
        for name in sorted(names - {""}):
            found.append(replace(self._opened.table(asked.other(source, name)), name=name))
        return found
