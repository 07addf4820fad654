"""What follows a training run by itself: it is measured beside its base, once it has finished.

A run that asked for it (`evaluate_after`) leaves a mark below home/sequels, so a restart forgets nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from backend.errors import LabError
from backend.evaluations import Evaluations
from backend.jobs import Run

log = logging.getLogger("atelier")
_OVER = ("failed", "cancelled")


class Sequel:
    """`state(run)` is a run's state, as the Lab tells it."""

    ROWS = 64  # of each dataset, drawn: a minute or two for the starter; the whole is a click away

    def __init__(self, home: Path, evaluations: Evaluations, state: Callable[[Run], str]) -> None:
        self._folder = home / "sequels"
        self._evaluations = evaluations
        self._state = state

    def promise(self, run: Run) -> None:
        """Remember that `run` asked for it, where it did."""
        params = run.job.params
        if params.get("evaluate_after") and not params.get("dry_run") and run.job.recipe != "reward":
            self._folder.mkdir(exist_ok=True)
            (self._folder / run.id).touch()

    def promised(self, run_id: str) -> bool:
        """Whether it is to be measured still."""
        return (self._folder / run_id).exists()

    def tend(self, find: Callable[[str], Run]) -> None:
        """Queue what is due; `find` gives a run by its id. Called every few seconds."""
        if not self._folder.exists():
            return
        for mark in sorted(self._folder.iterdir()):
            try:
                run = find(mark.name)
                state = self._state(run)
                if state == "finished" and not self._evaluations.of_any_state(run.id, run.job.owner):
                    self._evaluations.compare(run.id, run.job.owner, max_rows=self.ROWS)
                if state in ("finished", *_OVER):
                    mark.unlink(missing_ok=True)
            except LabError as error:
                log.warning("no evaluation after run %s: %s", mark.name, error)
                mark.unlink(missing_ok=True)
