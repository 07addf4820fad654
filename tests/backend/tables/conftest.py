"""Tables in a folder of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from backend.tables import child
from backend.tables.sources import Tables
from backend.tables.table import Table


@pytest.fixture(scope="session", autouse=True)
def no_spares_left() -> Iterator[None]:
    yield
    child.SPARES.close()


@pytest.fixture
def tables(tmp_path: Path) -> Iterator[Tables]:
    opened = Tables(tmp_path / "tables")
    yield opened
    opened.close()


@pytest.fixture
def make(tables: Tables, tmp_path: Path) -> Callable[..., Table]:
    """A Table out of columns: `make(a=[1, 2], b=["x", None])`; `group` rows in a row group."""

    def build(group: int = 4, name: str = "made", **columns: Any) -> Table:
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.table(columns), path, row_group_size=group)
        return tables.open(str(path), in_place=True)

    return build
