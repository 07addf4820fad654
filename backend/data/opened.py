"""From a Source to its Table: opened once, and whether the one who asks may is checked every time."""

from __future__ import annotations

import hashlib
import json
import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.catalog import Catalog
from backend.data.source import Source
from backend.errors import BadInput, HubError
from backend.settings import Settings
from backend.starter import SAMPLES, locate

if TYPE_CHECKING:
    from backend.tables.sources import Tables
    from backend.tables.table import Table

FIRST = next(iter(SAMPLES))
OPEN = 64  # tables that are kept open
OWN = ("upload/", "run/", "sample/", "/", "~", ".")  # asked of the catalog each time: whose they are may matter


class Opened:
    """The tables that were opened, below the data folder's `tables`, and the work that goes on over them."""

    def __init__(self, settings: Settings, catalog: Catalog) -> None:
        self.settings = settings
        self.catalog = catalog
        self._lock = threading.Lock()
        self._tables: Tables | None = None
        self._kept: OrderedDict[Any, Table] = OrderedDict()
        self._stops: dict[str, threading.Event] = {}

    def close(self) -> None:
        """Let go of the database and of the processes that wait for work."""
        if self._tables is not None:
            from backend.tables import child

            self._tables.close()
            child.SPARES.close()

    def library(self) -> Tables:
        from backend.tables import child
        from backend.tables.sources import Tables

        with self._lock:
            if self._tables is None:
                self._tables = Tables(self.settings.home / "tables")
                threading.Thread(target=child.SPARES.prepare, args=("backend.tables.sql",), daemon=True).start()
                threading.Thread(target=self._tables.sweep, daemon=True, name="sweep").start()
            return self._tables

    def table(self, source: Source) -> Table:
        """Raises NotFound, BadData, HubError, Gated …"""
        key, place, name = self._named(source)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        if place:
            table = self.library().open(place, in_place=name.startswith(("/", "~", ".")))
        else:
            table = self._of_the_hub(name, source)
        return self._keep(key, replace(table, name=name))

    def bring(self, source: Source, say: Any) -> None:
        """Have the first files of a Hub dataset on this machine; from then on they are its table."""
        table = self.table(source)
        if table.remote:
            self._keep(self._named(source)[0], self.library().nearby(table, say))

    def local(self, source: Source) -> str:
        """What the catalog gives for a name of this machine; '' for one of the Hub."""
        name = source.dataset.strip() or FIRST
        return self.catalog.dataset(name, source.owner) if name.startswith(OWN) else ""

    def token(self, source: Source) -> str | None:
        """The visitor's sign-in; the machine's own, by environment or login, serves its owner alone."""
        from huggingface_hub import get_token

        if source.token or self.settings.public:
            return source.token
        return self.settings.env.get("HF_TOKEN") or get_token()

    def tokenizer(self, model: str, token: str | None) -> Path:
        """The tokenizer.json of a model, fetched where it isn't here. Raises BadInput, NotFound, Gated, HubError."""
        from huggingface_hub import hf_hub_download

        from backend.recipes.loading import hub_errors

        place = locate(self.catalog.model(model), self.settings.starter)
        if place.startswith("/"):
            file = Path(place) / "tokenizer.json"
        else:
            with hub_errors(place):
                file = Path(hf_hub_download(place, "tokenizer.json", token=token or False))
        if not file.is_file():
            raise BadInput(f"{model!r} has no tokenizer.json.", "Choose another model.", "model.no_tokenizer")
        return file

    def placed(self, table: Table, owner: str) -> Table:
        """On a server of one's own, the Python that loads it names this disk."""
        if self.settings.public or not table.name.startswith(OWN):
            return table
        path = Path(SAMPLES.get(table.name) or self.catalog.dataset(table.name, owner))
        written = json.dumps(path.name, ensure_ascii=False)
        return replace(table, load=table.load.replace(written, json.dumps(str(path), ensure_ascii=False)))

    # -- work that can be stopped -------------------------------------------------------------------------------

    @contextmanager
    def going(self, ticket: str) -> Iterator[threading.Event]:
        """While it goes on, `stop(ticket)` sets the event; a later one under the same ticket ends this one."""
        ticket = ticket or secrets.token_hex(8)
        self.stop(ticket)
        stop = self._stops[ticket] = threading.Event()
        try:
            yield stop
        finally:
            if self._stops.get(ticket) is stop:
                del self._stops[ticket]

    def stop(self, ticket: str) -> bool:
        """End what goes on under this ticket; whether anything does."""
        if stop := self._stops.get(ticket):
            stop.set()
        return stop is not None

    # -- below --------------------------------------------------------------------------------------------------

    def _named(self, source: Source) -> tuple[tuple[str, ...], str, str]:
        """(what it is kept under, its place on this machine or '', its name)."""
        name, place = source.dataset.strip() or FIRST, self.local(source)
        token = "" if place else hashlib.sha256((self.token(source) or "").encode()).hexdigest()
        return (name, source.config, source.split, source.revision, _version(place), token), place, name

    def _keep(self, key: tuple[str, ...], table: Table) -> Table:
        with self._lock:
            self._kept[key] = table
            while len(self._kept) > OPEN:
                self._kept.popitem(last=False)
        return table

    def _of_the_hub(self, name: str, source: Source) -> Table:
        """Without the Hub, what the cache of this machine holds; on a shared server nobody can say whose that is."""
        self.catalog.hub_id(name)
        library, which = self.library(), (name, source.config, source.split, source.revision)
        try:
            self.catalog.ask_hub(name)
        except HubError:
            table = None if self.settings.public else library.cached(*which)
            if table is None:
                raise
            return table
        return library.open(*which, token=self.token(source))


def _version(place: str) -> str:
    """Changes when a file of one's own does."""
    path = Path(place)
    return str(path.stat().st_mtime_ns) if path.is_absolute() and path.exists() else ""


def hub_only(source: Source) -> str:
    """The name, when it is one of the Hub. Raises BadInput for another."""
    name = source.dataset.strip()
    if not name or name.startswith(OWN):
        raise BadInput(f"{name or FIRST!r} is not on the Hub.", "Choose a Hub dataset, written owner/name.")
    return name
