"""A dataset of any kind, opened as the Data tab opens it: the one place where recipes know `backend.tables`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from backend.errors import BadInput
from backend.recipes.part import Part

if TYPE_CHECKING:
    from backend.tables.table import Table

DATASET = "sample/instructions"


class TableParams(BaseModel):
    """Which rows a recipe works on."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, str_strip_whitespace=True)

    dataset: str = Field(DATASET, title="Dataset", description="A sample, an upload, run/ID, a file or a Hub id")
    config: str = Field("", title="Config", description="Of a Hub dataset; empty for its default")
    split: str = Field("", title="Split", description="Of a Hub dataset; empty for train, or the first")
    revision: str = Field("", title="Revision", description="Branch, tag or commit of a Hub dataset")


class Wish:
    """The owner's wish to stop, as a file in the run's folder says it; what `child.run` takes for an event."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "stop"

    def is_set(self) -> bool:
        return self._file.exists()


def open(params: TableParams, folder: Path) -> Table:
    """The table of `params`; a first part of one on the Hub is brought here.

    `folder` is the run's, used when no home is set. Raises NotFound, BadData, HubError.
    """
    from backend.tables.sources import Tables

    home = Path(os.environ.get("ATELIER_HOME") or folder)
    tables = Tables(home / "tables")
    inside = Path(params.dataset).is_relative_to(home)
    part = Part.read(params.dataset)
    which = (part.name, params.config or part.config, params.split or part.split, params.revision or part.revision)
    return tables.nearby(tables.open(*which, token=os.environ.get("HF_TOKEN"), in_place=not inside))


def check(params: TableParams, column: str) -> None:
    """What can be told before a run: raises BadInput when no column is named."""
    if not column:
        raise BadInput("No column is named.", "Choose one with text.")
