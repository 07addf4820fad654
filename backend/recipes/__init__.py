"""What can be trained: `METHODS`. Each recipe also runs alone: `python -m backend.recipes.sft params.json`.

Importing this is light: a recipe's module is imported when it is asked for, and the heavy libraries when it runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from backend.recipes.params import TrainParams


@dataclass(frozen=True)
class Method:
    """A recipe: its module has `Params`, `preflight(params)`, `look(dataset, limit)` and `run(params, folder)`."""

    module: str
    title: str
    about: str

    @property
    def params(self) -> type[TrainParams]:
        """What its form is drawn from."""
        kind: type[TrainParams] = import_module(self.module).Params
        return kind

    def preflight(self, params: TrainParams) -> None:
        """Everything that can be checked in a second without loading the model.

        Names in `params` are resolved: a starter or sample id, a path or a Hub id. Raises BadInput, BadData, NotFound.
        """
        import_module(self.module).preflight(params)

    def look(self, dataset: str, limit: int = 20) -> dict[str, Any]:
        """A dataset as this recipe sees it: {columns, rows, total, format, problem}.

        `rows` are the first `limit` as they are, `total` is None where it isn't known, `format` says in words what
        was recognised, and `problem` is None or {code, message, hint}. Raises NotFound, HubError.
        """
        seen: dict[str, Any] = import_module(self.module).look(dataset, limit)
        return seen


METHODS: dict[str, Method] = {
    "sft": Method(
        "backend.recipes.sft",
        "Supervised fine-tuning",
        "Learns to answer as the examples do: prompts with the answers they should get.",
    ),
}
