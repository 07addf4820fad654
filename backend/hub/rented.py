"""Hugging Face Jobs before a run: what hardware there is, what it costs at most, whether the run would fit there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backend.door import door
from backend.recipes.preflight import Place
from backend.targets.hf_jobs import HfJobs

if TYPE_CHECKING:
    from backend.lab import Lab

MARGIN = 1.2  # of an earlier run's time: below that a limit may be too short
DISK = 50_000_000_000  # bytes that the smallest flavors have for a job


class Rented:
    """Asked with the sign-in of the one who would pay."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def target(self) -> HfJobs | None:
        found = self._lab.targets.get(HfJobs.name)
        return found if isinstance(found, HfJobs) else None

    @door
    def hardware(self, owner: str) -> list[dict[str, Any]]:
        """As `HfJobs.hardware`; [] for nobody, and where jobs are not a target. Raises HubError."""
        target = self.target()
        return target.hardware(owner) if target and self._lab.token(owner) else []

    @door
    def cost(self, owner: str, target: str) -> dict[str, Any]:
        """{flavor, title, price, seconds, dollars, …} of `hf_jobs:FLAVOR:SECONDS`; {} for another target."""
        jobs = self.target()
        return jobs.cost(owner, target) if jobs and target.startswith(f"{HfJobs.name}:") else {}

    def price(self, owner: str, target: str, seconds: float | None) -> list[str]:
        """What a run there costs at most, in lines; [] for another target. `seconds` is how long it took before."""
        told = self.cost(owner, target)
        if not told:
            return []
        lines = [
            f"At most ${told['dollars']:.2f}: ${told['price']:.2f} an hour for {told['title']}, ended after "
            f"{told['seconds'] / 60:,.0f} minutes. Your account pays by the second.",
            "What it makes goes into a private repository of yours and is verified here before the run is finished.",
        ]
        if seconds and seconds * MARGIN > told["seconds"]:
            lines.append(
                f"That may be too short: an earlier run like this took {seconds / 60:,.0f} minutes there. When its "
                "time is over the run can be resumed from its last checkpoint."
            )
        return lines

    def place(self, owner: str, target: str) -> Place | None:
        """What is free there, for the preflight; None for another target."""
        told = self.cost(owner, target)
        return Place(told["memory"], DISK, 2, gpu=bool(told["gpus"])) if told else None
