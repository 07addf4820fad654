"""Data over a home of its own, and a Hub on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.catalog import Catalog
from backend.data import Data
from backend.settings import Settings
from backend.store import Store
from tests.datahub import serving
from tests.localhub import Hub, here


@pytest.fixture
def store(home: Path) -> Store:
    return Store(home)


@pytest.fixture
def data(home: Path, store: Store) -> Iterator[Data]:
    """Of a server that strangers can reach: nobody's sign-in but the visitor's own is used."""
    settings = Settings.read({"ATELIER_HOME": str(home), "SPACE_ID": "a/b", "HF_TOKEN": "hf_the_server"})
    opened = Data(settings, Catalog(settings, store), store)
    yield opened
    opened.close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serving() as found:
        here(monkeypatch, found.url)
        yield found
