"""A long run cut into slices that ZeroGPU lends one after the other: how many, how long, and in words. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from backend.quota import Quota, span

OVERHEAD = 8.0  # seconds of a slice that go into loading and saving, where nothing was measured
SHORTEST = 15  # seconds: below, a slice would do little more than load and save
_SAVE = 4.0  # seconds set aside for the checkpoint, where nothing was measured


@dataclass(frozen=True)
class Plan:
    """`count` slices of `seconds` each; None where nothing like the run was measured."""

    seconds: int
    count: int | None

    @property
    def total(self) -> int | None:
        return None if self.count is None else self.count * self.seconds


def plan(training: float | None, slice_seconds: int, overhead: float = OVERHEAD) -> Plan:
    """How `training` seconds of steps are cut; the last slice asks for what is left alone."""
    if training is None:
        return Plan(slice_seconds, None)
    useful = max(1.0, slice_seconds - overhead)
    count = max(1, math.ceil(training / useful))
    return Plan(min(slice_seconds, math.ceil(training + overhead)) if count == 1 else slice_seconds, count)


def words(plan: Plan, quota: Quota) -> list[str]:
    """The cost before Run: `3 slices of 55 s, 2 min 45 s of your 5 min today`, and what follows from it."""
    if plan.total is None:
        lines = [f"Slices of {span(plan.seconds)} each; the first shows how many it takes."]
    else:
        many = f"{plan.count} slice{'s' * (plan.count != 1)} of {span(plan.seconds)}"
        lines = [f"{many}, {span(plan.total)} of your {span(quota.total)} today."]
    lines.append(f"ZeroGPU: {quota.words}.")
    if plan.total is not None and plan.total > quota.left:
        lines.append("That does not reach: the run pauses when it is used up and goes on when there is more.")
    if quota.more:
        lines.append(quota.more)
    lines.append("Keep this page open: it asks for each slice. Without it the run pauses, and nothing is lost.")
    return lines


def granted(slice_seconds: int, left: int | None) -> int:
    """Seconds to ask for, given what its owner has left (None: unknown). 0 when that is too little to be of use."""
    if left is None or left >= slice_seconds:
        return slice_seconds
    return left if left >= min(SHORTEST, slice_seconds) else 0


def deadline(began: float, seconds: int, save: float | None) -> float:
    """When a slice that began at `began` stops training, so that its checkpoint is written before its time is over."""
    return began + seconds - max(1.5, _SAVE if save is None else 1.5 * save + 1)
