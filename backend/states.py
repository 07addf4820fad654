"""What state runs are in: a fold over each one's log, and whether its process lives."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from backend import events as ev
from backend.jobs import Run, Status

if TYPE_CHECKING:
    from backend.lab import Lab

_FOLDS = 512  # runs whose fold is kept in memory


class States:
    """Of every run of the store, whoever asks: who may is asked before."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._folds: OrderedDict[str, tuple[int, Status]] = OrderedDict()
        self._ended: dict[str, tuple[dict[str, Any], int]] = {}  # folds to remember at the next listing
        self._lock = threading.Lock()

    def of(self, run: Run, status: Status | None = None) -> str:
        """queued, running, paused, …; `status` is its fold, where that was just worked out."""
        target = self._lab.targets.get(run.job.target.partition(":")[0])  # none where the machine is another since
        waiting = target is not None and target.ahead(run) is not None
        alive = target is not None and not waiting and target.alive(run)
        # Read the log after asking for the process: one that ends in between has then said how.
        return (status if status and (alive or waiting) else self.fold(run)).state(
            alive=alive, waiting=waiting, stop=run.stop
        )

    def view(self, run: Run) -> dict[str, Any]:
        """What `Lab.status` tells its owner."""
        status = self.fold(run)
        state = self.of(run, status)
        error = status.error
        if state == "failed" and error is None:
            error = {
                "code": "died",
                "message": "The run's process is gone without a word: it was killed or the machine restarted.",
                "hint": "Press Resume to go on from the last checkpoint.",
            }
        return {
            "id": run.id,
            "recipe": run.job.recipe,
            "target": run.job.target,
            "state": state,
            "progress": {"done": status.done, "total": status.total, "unit": status.unit, "eta": status.eta},
            "step": status.step,
            "metrics": status.metrics,
            "artifacts": status.artifacts,
            "error": error if state == "failed" else None,
            "reason": status.reason,
            "ahead": self._lab.target(run.job.target).ahead(run) if state == "queued" else None,
            "mine": self.line(run) if state == "queued" else [],
            "params": run.job.params,
            "parent": run.parent,
            "group": run.job.group,
            "info": status.info,
            "created": run.created,
            "started": status.started,
            "ended": status.ended,
        }

    def views(self, runs: Sequence[Run]) -> list[dict[str, Any]]:
        self._recall(runs)
        try:
            return [self.view(run) for run in runs]
        finally:
            self._remember()

    def line(self, run: Run) -> list[str]:
        """The waiting runs of its owner in the line that `run` is in, first come first."""
        target = self._lab.target(run.job.target)
        store = self._lab.store
        line = [store.run(name) for name, taken in store.line(getattr(target, "device", None)) if not taken]
        return [one.id for one in line if one.job.owner == run.job.owner and one.job.target == run.job.target]

    def fold(self, run: Run) -> Status:
        """The fold over the run's log, of which only what is new is read."""
        size = run.log.stat().st_size if run.log.exists() else 0
        with self._lock:
            cursor, status = self._folds.pop(run.id, (0, None))
            if status is None or cursor > size:
                cursor, status = 0, Status()
            while cursor < size:
                events, cursor_now = ev.read(run.log, cursor)
                if cursor_now == cursor:
                    break
                cursor = cursor_now
                for event in events:
                    status.add(event)
                if cursor >= size and status.ended:
                    self._ended[run.id] = (asdict(status), cursor)
            self._folds[run.id] = (cursor, status)
            while len(self._folds) > _FOLDS:
                self._folds.popitem(last=False)
            return status

    def _recall(self, runs: Sequence[Run]) -> None:
        """Take remembered folds in, so that ended runs' logs need not be read again."""
        held = self._lab.store.summaries([run.id for run in runs if run.id not in self._folds])
        with self._lock:
            for run_id, (summary, size) in held.items():
                self._folds.setdefault(run_id, (size, Status(**summary)))

    def _remember(self) -> None:
        with self._lock:
            ended, self._ended = self._ended, {}
        if ended:
            self._lab.store.remember(ended)
