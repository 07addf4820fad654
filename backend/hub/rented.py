"""Hugging Face Jobs before a run: what hardware there is, what it costs at most, whether the run would fit there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from backend.door import door
from backend.errors import BadInput
from backend.hub.refusals import client, refusals
from backend.recipes.preflight import Place
from backend.targets.hf_jobs import HfJobs, described

if TYPE_CHECKING:
    from backend.lab import Lab

MARGIN = 1.2  # of an earlier run's time: below that a limit may be too short
ASLEEP = 3600  # seconds without visitors after which an upgraded Space sleeps, and costs nothing
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
        """{flavor, title, price, seconds, machines, dollars, …} of an `hf_jobs` target; {} for another one."""
        jobs = self.target()
        return jobs.cost(owner, target) if jobs and target.startswith(f"{HfJobs.name}:") else {}

    @door
    def space(self, owner: str) -> dict[str, Any]:
        """{name, hardware} of the Space that this server is, for the one who looks after it; {} for all others.

        Hardware as `HfJobs.hardware` tells it. Raises HubError.
        """
        name, token = self._lab.settings.env.get("SPACE_ID", ""), self._lab.token(owner)
        if not name or not token or not self._lab.hub.is_keeper(owner):
            return {}
        with refusals(name):
            found = client(self._lab.catalog).list_spaces_hardware(token=token)
        hardware = sorted((described(one) for one in found), key=lambda one: float(one["price"]))
        return {"name": name, "hardware": hardware}

    @door
    def upgrade(self, owner: str, flavor: str) -> str:
        """Ask for other hardware for this Space, asleep after an hour unused; says what was asked for.

        It restarts on it. Raises NotYours, BadInput, HubError.
        """
        self._lab.hub.keeps(owner)
        here = self.space(owner)
        chosen = {one["flavor"]: one for one in here.get("hardware", ())}
        if flavor not in chosen:
            raise BadInput(f"This server can't have the hardware {flavor[:40]!r}.", "Choose one of the list.")
        with refusals(here["name"]):
            client(self._lab.catalog).request_space_hardware(
                here["name"], flavor, sleep_time=ASLEEP, token=self._lab.token(owner)
            )
        return f"{here['name']} restarts on {chosen[flavor]['title']}: ${chosen[flavor]['price']:.2f} an hour."

    def price(self, owner: str, target: str, seconds: float | None, recipe: str = "") -> list[str]:
        """What a run there costs at most, in lines; [] for another target. `seconds` is how long it took before.

        Raises BadInput, also where `recipe` can't use several machines.
        """
        told = self.cost(owner, target)
        if not told:
            return []
        many, each = told["machines"], told["price"]
        if many > 1 and (jobs := self.target()):
            jobs.check(target, owner, recipe)
        times = f" × {many} machines = ${each * many:.2f}" if many > 1 else ""
        lines = [
            f"At most ${told['dollars']:.2f}: ${each:.2f} an hour for {told['title']}{times}, ended after "
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
        if not told:
            return None
        gpus = max(1, told["gpus"])  # each has a process and the whole model
        return Place(told["memory"] // gpus, DISK, 2, bool(told["gpus"]), gpus * told["machines"])
