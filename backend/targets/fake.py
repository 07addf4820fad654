"""A target for tests and demonstrations: each run's log is written at once from given events."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from backend import events as ev
from backend.jobs import Run


def tiny_run(run: Run) -> list[ev.Event]:
    """Three steps and an end."""
    steps = [ev.Measured(step=i, values={"loss": 3.0 / i, "learning_rate": 1e-4}) for i in (1, 2, 3)]
    return [ev.Started(), *steps, ev.Progressed(done=3, total=3), ev.Finished(values={"train_loss": 1.0})]


class Fake:
    """Plays `script(run)` into the log when a run starts. While the script has no end, the run counts as living."""

    name = "fake"

    def __init__(self, script: Callable[[Run], Iterable[ev.Event]] = tiny_run) -> None:
        self.script = script
        self.living: set[str] = set()

    def start(self, run: Run) -> None:
        self.living.add(run.id)
        for event in self.script(run):
            self.write(run, event)

    def write(self, run: Run, event: ev.Event) -> None:
        """One more event of a run that has not ended."""
        with run.log.open("a") as file:
            file.write(ev.encode(event) + "\n")
        if event.ends:
            self.living.discard(run.id)

    def alive(self, run: Run) -> bool:
        return run.id in self.living

    def ahead(self, run: Run) -> int | None:
        return None

    def cancel(self, run: Run, save: bool) -> None:
        if run.id in self.living:
            self.write(run, ev.Paused(reason="stopped and saved") if save else ev.Cancelled())

    def tend(self) -> None:
        """Nothing waits here."""

    def describe(self) -> str:
        return "A pretend machine"
