"""What a run would take, told before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from backend import machine
from backend.door import door
from backend.recipes import PICTURES, image_preflight, limits, method_named, preflight
from backend.recipes.params import check
from backend.targets.hf_jobs import hardware_of

if TYPE_CHECKING:
    from backend.lab import Lab


class Estimates:
    """By formula, or as an earlier run there measured it."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    @door
    def preflight(self, recipe: str, params: Mapping[str, Any], owner: str, target: str = "local") -> dict[str, Any]:
        """What a run would take: {memory, time, disk, verdict, fixes, price}, by formula or as measured.

        memory {needed, free, measured, parts}, disk {needed, free} in bytes; time {steps, seconds_per_step, seconds},
        None where nothing like it has run; verdict {level: ok, tight, no, unknown; text}; fixes, each {title, set:
        settings that change, needed}; price is what it costs there, in lines. Raises what `launch` raises.
        """
        device = getattr(self._lab.target(target), "device", "cpu")
        place = self._lab.hub.rented.place(owner, target) or machine.place(
            self._lab.settings.home, device, self._lab.settings.memory_limit
        )
        asked, resolved = self._lab.checked(recipe, params, owner)
        self._lab.lenses.check(recipe, resolved)
        pace, took = self._measured(recipe, asked, owner, target)
        if recipe in PICTURES:
            seen = image_preflight.estimate(recipe, resolved, place, pace, took)
        else:
            method = method_named(recipe)
            checked = check(method.params, resolved)
            seen = preflight.estimate(recipe, checked, method.wants, limits.local(checked.model), place, pace, took)
        price = self._lab.hub.rented.price(owner, target, seen["time"]["seconds"], recipe)
        return seen | {"price": price or self._lab.lending.price(target, seen["time"]["seconds"], owner)}

    def _measured(self, recipe: str, asked: Mapping[str, Any], owner: str, target: str) -> tuple[float | None, int]:
        """(seconds a step, bytes at most) of the newest run there that took as much, if there was one."""
        free = {"dry_run", "max_steps", "num_train_epochs", "seed", "learning_rate", "save_steps", "logging_steps"}
        free.add("evaluate_after")  # what comes later costs the run nothing
        free |= {"instance_prompt", "validation_prompt", "num_validation_images", "placeholder_token"}
        for run in self._lab.store.runs(owner, 50):
            params = run.job.params
            same = all(asked[name] == params.get(name) for name in asked.keys() - free)
            if not same or (run.job.recipe, hardware_of(run.job.target)) != (recipe, hardware_of(target)):
                continue
            metrics = self._lab.states.fold(run).metrics
            pace = metrics.get("seconds_per_step")
            rows = metrics.get("rows_per_second") or metrics.get("pictures_per_second")
            if rows and not pace:
                pace = asked["per_device_train_batch_size"] * asked["gradient_accumulation_steps"] / rows
            if pace and "memory_gb" in metrics:
                return pace, int(metrics["memory_gb"] * 1e9)
        return None, 0
