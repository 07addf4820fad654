"""Runs from their launch on: queued, watched, stopped, moved in the line, resumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from backend import events as ev
from backend import providers
from backend.door import door
from backend.errors import BadInput, NotYours
from backend.jobs import ENDED, Job, Run
from backend.lineage import related
from backend.recipes import recipe_named
from backend.store import room
from backend.targets.hf_jobs import HfJobs

if TYPE_CHECKING:
    from backend.lab import Lab

RELATIVES = 500  # runs of an owner, the newest, among which a run's relatives are looked for
_DISK = 300_000_000  # bytes that a run may need for its checkpoints


class Running:
    """Each owner's runs are theirs alone, but for those that they show to everybody."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    @door
    def launch(
        self,
        recipe: str,
        params: Mapping[str, Any],
        owner: str,
        target: str = "local",
        parent: str = "",
        group: str = "",
        grants: Sequence[str] | None = None,
    ) -> Run:
        """Check everything that can be checked now, then queue. Raises BadInput, BadData, NotFound, NoRoom, …

        `grants` names those of its owner's secrets that the run gets; None: those that are given to new runs.
        """
        self._lab.rules.train(owner)
        self._lab.lending.takes(recipe, target)
        place = self._lab.target(target)
        asked, resolved = self._lab.checked(recipe, params, owner)
        if isinstance(place, HfJobs):
            place.check(target, owner, recipe)
        self._lab.lenses.check(recipe, resolved)
        names, given = recipe_named(recipe).names, self._lab.vault.chosen(owner, grants)
        providers.check(asked, names, place, self._lab.token(owner))
        with room(self._lab.settings.home, _DISK):
            run = self._lab.store.add(Job(recipe, asked, target, owner, group), resolved, parent)
            self._lab.vault.grant(run, given)
            providers.grant(run, names)
        self._lab.sequel.promise(run)
        place.start(run)
        return run

    @door
    def dry_run(self, recipe: str, params: Mapping[str, Any], owner: str, target: str = "local") -> Run:
        """Three steps on the longest rows: a run whose end tells memory_gb and seconds_per_step, and keeps nothing."""
        return self.launch(recipe, {**params, "dry_run": True}, owner, target)

    @door
    def resume(self, run_id: str, owner: str, target: str = "") -> str:
        """Go on from the last whole checkpoint, perhaps on another `target`. Returns the state.

        Raises BadInput when there is nothing to resume.
        """
        run = self.run(run_id, owner)
        state = self._lab.states.of(run)
        if state not in ENDED or state == "finished":
            raise BadInput(f"Run {run.id} is {state}; only a stopped run can be resumed.", "Clone it to train again.")
        place, names = self._lab.target(target or run.job.target), recipe_named(run.job.recipe).names
        providers.check(run.job.params, names, place, self._lab.token(owner))
        with room(self._lab.settings.home, _DISK):
            if target and target != run.job.target:
                run = self._lab.store.retarget(run, target)
            place.start(run)
        return self._lab.states.of(run)

    @door
    def cancel(self, run_id: str, owner: str, save: bool = True) -> str:
        """Stop at the next step with everything saved, or at once. Returns the state. Ended runs are left alone."""
        run = self.run(run_id, owner)
        if self._lab.states.of(run) not in ENDED:
            self._lab.target(run.job.target).cancel(run, save)
        return self._lab.states.of(run)

    @door
    def move(self, run_id: str, direction: Literal["ahead", "behind"], owner: str) -> str:
        """Let a waiting run change places with the owner's next one before or behind it. Returns the state.

        Other people's runs keep their places. Raises BadInput when it does not wait, or none of theirs is there.
        """
        run = self.run(run_id, owner)
        mine = self._lab.states.line(run)
        if run.id not in mine:
            raise BadInput(f"Run {run.id} does not wait; only a waiting run can be moved.", "Leave it as it is.")
        place = mine.index(run.id) + (-1 if direction == "ahead" else 1)
        if not 0 <= place < len(mine):
            raise BadInput(f"No other run of yours waits {direction} of run {run.id}.", "Leave it as it is.")
        self._lab.store.swap(run.id, mine[place])
        return self._lab.states.of(run)

    @door
    def lineage(self, run_id: str, owner: str) -> list[dict[str, Any]]:
        """What led to a run and what came of it, oldest first: {id, recipe, adapter, state, dataset, sources}.

        `sources` is {id: why}; `why` is `clone`, or the setting that names the other run, such as start_from.
        """
        run = self.run(run_id, owner)
        return [
            {
                "id": one.id,
                "recipe": one.job.recipe,
                "adapter": str(one.job.params.get("adapter", "")),
                "state": self._lab.states.of(one),
                "dataset": str(one.job.params.get("dataset", "")),
                "sources": sources,
            }
            for one, sources in related(run, self._lab.store.runs(owner, RELATIVES))
        ]

    @door
    def watch(self, run_id: str, owner: str, after: int = 0) -> tuple[list[ev.Event], int]:
        """Events since the cursor `after` (0 is the beginning) and the next cursor."""
        if after < 0:
            raise BadInput(f"after is {after}; use the cursor of the last call, or 0.", "Start again from 0.")
        return ev.read(self.shown(run_id, owner).log, after)

    @door
    def run(self, run_id: str, owner: str) -> Run:
        """Raises NotFound, NotYours."""
        run = self._lab.store.run(run_id)
        if run.job.owner != owner:
            raise NotYours("This run is not yours.", "Open one from your own Runs list.")
        return run

    @door
    def status(self, run_id: str, owner: str) -> dict[str, Any]:
        """{id, recipe, target, state, progress, metrics, artifacts, error, …}: plain JSON values.

        `yours` tells whether it is `owner`'s, `public` whether everybody may look.
        """
        run = self.shown(run_id, owner)
        yours = run.job.owner == owner
        view = self._lab.states.view(run) | {"yours": yours, "public": self._lab.sharing.public(run)}
        return view if yours else view | {"mine": [], "parent": ""}

    @door
    def runs(self, owner: str, limit: int = 50, offset: int = 0) -> list[dict[str, Any]]:
        """The owner's runs, newest first, each as `status` tells it."""
        return self._lab.states.views(self._lab.store.runs(owner, limit, offset))

    def shown(self, run_id: str, owner: str) -> Run:
        """A run that `owner` may look at: their own, or a public one."""
        run = self._lab.store.run(run_id)
        return run if self._lab.sharing.public(run) else self.run(run_id, owner)
