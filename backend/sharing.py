"""A run that its owner shows to everybody: they may look, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backend.door import door
from backend.jobs import Run

if TYPE_CHECKING:
    from backend.lab import Lab

MARK = "public"  # a file in the run's folder


class Sharing:
    """Which runs are public. What they made stays with their owner; charts, log, samples and settings are seen."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    @door
    def publish(self, run_id: str, owner: str, shown: bool = True) -> bool:
        """Show a run to everybody, or to nobody else any more. Raises NotFound, NotYours."""
        mark = self._lab.run(run_id, owner).folder / MARK
        if shown:
            mark.touch()
        else:
            mark.unlink(missing_ok=True)
        return shown

    def public(self, run: Run) -> bool:
        return (run.folder / MARK).exists()
