"""Where durable work runs. A target starts a run, says whether its process lives, and stops it."""

from __future__ import annotations

from typing import Protocol

from backend.jobs import Run


class Target(Protocol):
    """The seam. What a run does is read from its event log, which its process writes itself."""

    name: str

    def start(self, run: Run) -> None:
        """Queue `run`; it begins when its device is free. Calling it again after the run ended resumes it."""

    def alive(self, run: Run) -> bool:
        """Whether the run's process lives, told by pid and process start time."""

    def ahead(self, run: Run) -> int | None:
        """How many runs are before `run` in its line; None when it does not wait."""

    def cancel(self, run: Run, save: bool) -> None:
        """Stop it: at the next step with everything saved, or at once."""

    def tend(self) -> None:
        """Start what can start now. Cheap; called every few seconds and after each change."""

    def describe(self) -> str:
        """Where that is, in a few words: `This machine: 2 cores, 24 GB`."""
