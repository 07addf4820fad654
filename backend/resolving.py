"""A request made whole: settings checked, and what they name found on this disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from backend.errors import BadInput
from backend.recipes import METHODS, Kind, Recipe, recipe_named, why_not
from backend.recipes.params import check
from backend.recipes.rewards import is_place

if TYPE_CHECKING:
    from backend.lab import Lab


class Resolving:
    """What may be named is what the catalog knows and the rules of this place allow."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def checked(self, recipe: str, params: Mapping[str, Any], owner: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Whole, checked params, as they were asked for and with names resolved; queues nothing. Raises as `launch`."""
        asked, resolved = self.named(recipe, params, owner)
        what = recipe_named(recipe)
        what.preflight(check(what.params, resolved))
        return asked, resolved

    def named(self, recipe: str, params: Mapping[str, Any], owner: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The same before the data are looked at."""
        what = recipe_named(recipe)
        asked = check(what.params, dict(params)).model_dump(mode="json")
        if recipe in METHODS and (why := why_not(recipe, asked["adapter"])):
            raise BadInput(
                f"{recipe} can't train {asked['adapter']} here: {why}.", "Choose another adapter.", "cell.off"
            )
        for name in _names(what, asked, "model", "answerer", "pipeline"):
            self._lab.rules.model(name, owner)
        return asked, asked | {field: self.place(kind, asked[field], owner) for field, kind in what.names.items()}

    def place(self, kind: Kind, name: Any, owner: str) -> Any:
        """Where what a field of some params names is on this disk; of a list, each."""
        if isinstance(name, list):
            return [self.place(kind, one, owner) for one in name]
        match kind:
            case "model":
                return self._lab.catalog.model(name, owner)
            case "dataset":
                return self._lab.catalog.dataset(name, owner) if name else ""
            case "adapter":
                return self._lab.catalog.adapter(name, owner)
            case "answerer":
                return self._lab.catalog.answerer(name, owner)
            case "reward":
                return self._judge(name, owner) if is_place(name) else name
            case "pipeline":
                return self._lab.pictures.catalog.model(name, owner)
            case "lesson":
                return self._lab.pictures.catalog.adapter(name, owner) if name else ""
            case "run":
                return str(self._lab.run(name.removeprefix("run/"), owner).folder) if name else ""

    def _judge(self, name: str, owner: str) -> str:
        """Where a reward model is: the adapter of `run/ID`, or the whole model that it made."""
        if name.startswith("run/") and (self._lab.run(name.removeprefix("run/"), owner).folder / "model").exists():
            return self._lab.catalog.model(name, owner)
        return self._lab.catalog.adapter(name, owner)


def _names(what: Recipe, asked: Mapping[str, Any], *kinds: Kind) -> list[str]:
    """What params name of these kinds."""
    held = [asked[field] for field, kind in what.names.items() if kind in kinds]
    return [str(name) for one in held for name in (one if isinstance(one, list) else [one])]
