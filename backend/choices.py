"""What there is to choose from: models, adapters, rewards, and where a run can go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.catalog import Entry
from backend.door import door
from backend.recipes.rewards import REWARDS
from backend.running import RELATIVES
from backend.starter import MODEL_ID
from backend.targets import Target
from backend.targets.hf_jobs import HfJobs

if TYPE_CHECKING:
    from backend.lab import Lab


class Choices:
    """As pages list it, for one owner."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    @door
    def models(self, query: str = "", task: str = "", owner: str = "") -> list[Entry]:
        """Chat models, or those that can do a task of TASKS; with an `owner` also what that one's runs made.

        With a `query` also what the Hub and providers have.
        """
        found = self._lab.catalog.models(query, task, owner)
        if query and not task:
            found += [Entry(offer.name, "provider", offer.note) for offer in self._lab.remote.offers(query)]
        return found

    @door
    def adapters(self, owner: str, model: str = MODEL_ID) -> list[Entry]:
        return self._lab.catalog.adapters(owner, model or MODEL_ID)

    @door
    def image_models(self, query: str = "", owner: str = "") -> list[Entry]:
        """What can draw: the starter, folders, the cache; with a `query` also what the Hub has."""
        return self._lab.pictures.catalog.models(query, owner)

    @door
    def image_adapters(self, owner: str, model: str = "") -> list[Entry]:
        """What the owner's runs taught; `fits` tells whether it was made for `model`."""
        return self._lab.pictures.catalog.adapters(owner, model)

    @door
    def rewards(self, owner: str) -> list[tuple[str, str]]:
        """What answers can be rewarded by: (in words, what `reward` takes); the owner's reward runs come first."""
        runs = [run for run in self._lab.store.runs(owner, RELATIVES) if run.job.recipe == "reward"]
        made = [run for run in runs if (run.folder / "adapter").is_dir() or (run.folder / "model").is_dir()]
        learned = [
            (f"run/{run.id} · learned from {run.job.params.get('dataset', '')}", f"run/{run.id}") for run in made
        ]
        return learned + [
            (f"{name} · {one.title}", f"{name}:{one.value}" if one.value else name) for name, one in REWARDS.items()
        ]

    @door
    def places(self, owner: str = "") -> list[tuple[str, str, int]]:
        """Where a run can go: (target, in a few words, runs that work or wait there); with an `owner` what they rent.

        Of `hf_jobs` the flavor and the seconds are still to be named: see `hub.rented`. On ZeroGPU nobody waits for
        another's run.
        """

        def waiting(name: str, target: Target) -> int:
            return 0 if name == "zerogpu" else len(self._lab.store.line(getattr(target, "device", name)))

        return [
            (name, target.describe(), waiting(name, target))
            for name, target in self._lab.targets.items()
            if not isinstance(target, HfJobs) or (owner and self._lab.token(owner))
        ]

    def where(self) -> str:
        """Where work runs, in a few words."""
        return next(iter(self._lab.targets.values())).describe()
