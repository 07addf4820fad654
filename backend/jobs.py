"""A Job is a request; a Run is its life. What state a run is in is worked out from its events, never stored."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from backend import events as ev

State = Literal["queued", "running", "paused", "stopping", "finished", "failed", "cancelled"]
ENDED: tuple[State, ...] = ("paused", "finished", "failed", "cancelled")


@dataclass(frozen=True)
class Job:
    """What to do (`recipe`, `params`), where (`target`) and for whom (`owner`). Never holds a secret.

    `group` is shared by the runs of a sweep.
    """

    recipe: str
    params: dict[str, Any]
    target: str
    owner: str
    group: str = ""


@dataclass(frozen=True)
class Run:
    """One job's life: its id, its folder and when it was asked for (seconds since the epoch)."""

    id: str
    job: Job
    folder: Path
    created: float
    parent: str = ""

    @property
    def log(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def stop_file(self) -> Path:
        """Where its owner's wish to stop is put; the recipe looks for it at each step."""
        return self.folder / "stop"

    @property
    def grants(self) -> list[str]:
        """Names of its owner's secrets that its process gets in its environment."""
        file = self.folder / "grants.json"
        return [str(name) for name in json.loads(file.read_text())] if file.exists() else []

    @property
    def stop(self) -> str:
        """`save`, `cancel`, or nothing."""
        return self.stop_file.read_text() if self.stop_file.exists() else ""


@dataclass
class Status:
    """The fold over a run's events."""

    last: str = ""  # the type of the event that decides the state
    step: int = 0
    done: float = 0
    total: float = 0
    unit: str = "steps"
    eta: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    artifacts: list[dict[str, Any]] = field(default_factory=list)
    error: dict[str, str] | None = None
    reason: str = ""
    info: dict[str, Any] = field(default_factory=dict)
    started: float | None = None
    ended: float | None = None

    def add(self, event: ev.Event) -> None:
        """Take one more event in."""
        match event:
            case ev.Started():
                self.last, self.step = "Started", event.step
                self.error, self.ended, self.reason, self.eta = None, None, "", None
                self.started = self.started or event.at
                self.info.update(event.info)
            case ev.Measured():
                self.step = max(self.step, event.step)
                self.metrics.update(event.values)
            case ev.Progressed():
                self.done, self.total, self.unit, self.eta = event.done, event.total, event.unit, event.eta
            case ev.Produced() if event.file:
                row = {"kind": event.kind, "name": event.name, "file": event.file, "step": event.step}
                self.artifacts = [a for a in self.artifacts if (a["kind"], a["file"]) != (event.kind, event.file)]
                self.artifacts.append(row)
            case ev.Failed():
                self.last, self.ended = "Failed", event.at
                self.error = {"code": event.code, "message": event.message, "hint": event.hint}
            case ev.Paused() | ev.Cancelled():
                self.last, self.ended, self.reason = type(event).__name__, event.at, event.reason
            case ev.Finished():
                self.last, self.ended, self.reason = "Finished", event.at, event.reason
                self.metrics.update(event.values)

    def state(self, *, alive: bool, waiting: bool, stop: str = "") -> State:
        """Where the run stands, given whether its process lives or waits, and its owner's wish to stop."""
        if waiting:
            return "queued"
        if alive:
            return "stopping" if stop else "running"
        ended: dict[str, State] = {"Finished": "finished", "Cancelled": "cancelled", "Paused": "paused"}
        return ended.get(self.last) or ("cancelled" if stop == "cancel" else "failed")


def fold(stream: Iterable[ev.Event]) -> Status:
    """The status after all of `stream`."""
    status = Status()
    for event in stream:
        status.add(event)
    return status
