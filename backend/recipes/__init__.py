"""What can be launched: `RECIPES`, which are the training `METHODS` and the `OTHERS`.

Each also runs alone: `python -m backend.recipes.sft params.json`.

Importing this is light: a recipe's module is imported when it is asked for, and the heavy libraries when it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal

from pydantic import BaseModel

from backend.recipes import data
from backend.recipes.params import TrainParams

Kind = Literal["model", "dataset", "adapter", "answerer", "reward", "run"]  # see Catalog; `run` becomes its folder


@dataclass(frozen=True)
class Recipe:
    """Durable work: its module has `Params`, `preflight(params)` and `run(params, folder)`.

    `names` tells which fields of its Params name something in the catalog, and what; the Lab puts in each one's stead
    where it is on this disk. A field may hold a list of names.
    """

    module: str
    title: str
    about: str
    names: Mapping[str, Kind] = field(default_factory=lambda: {"model": "model", "dataset": "dataset"})

    @property
    def params(self) -> type[BaseModel]:
        """What its form is drawn from."""
        kind: type[BaseModel] = import_module(self.module).Params
        return kind

    def preflight(self, params: BaseModel) -> None:
        """Everything that can be checked in a second without loading the model.

        Names in `params` are resolved: a starter or sample id, a path or a Hub id. Raises BadInput, BadData, NotFound.
        """
        import_module(self.module).preflight(params)


@dataclass(frozen=True)
class Method(Recipe):
    """A recipe that trains: its module also has `WANTS`, and the Tune tab draws its form."""

    @property
    def params(self) -> type[TrainParams]:
        """What its form is drawn from."""
        kind: type[TrainParams] = import_module(self.module).Params
        return kind

    @property
    def wants(self) -> tuple[data.Kind, ...]:
        """The kinds of data it learns from, the most wanted first: `WANTS` of its module."""
        kinds: tuple[data.Kind, ...] = import_module(self.module).WANTS
        return kinds

    def look(
        self, dataset: str, limit: int = 20, columns: Mapping[str, str] | None = None, drop: bool = False
    ) -> dict[str, Any]:
        """A dataset as this recipe sees it: {columns, rows, total, format, kind, problem, report, roles, guess}.

        `rows` are the first `limit` as they are, `total` is None where it isn't known, `format` says in words what was
        recognised and `kind` what it is by itself, `problem` is None or {code, message, hint}. `report` tells of the
        checked rows: {rows, good, wrong, twice}. `roles` are what a column can be here, and `guess` says which may be.
        `columns` maps roles to columns; with `drop` wrong rows are no problem. Raises NotFound, HubError.
        """
        return data.look(dataset, self.wants, limit, columns, drop)


METHODS: dict[str, Method] = {
    "sft": Method(
        "backend.recipes.sft",
        "Supervised fine-tuning",
        "Learns to answer as the examples do: prompts with the answers they should get.",
    ),
}

OTHERS: dict[str, Recipe] = {}

RECIPES: dict[str, Recipe] = {**METHODS, **OTHERS}
