"""Pictures as they are drawn: the fold over an engine's events. Pure, knows no Gradio."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from backend import events as ev
from backend.errors import LabError


@dataclass
class Drawing:
    """What is known of one request, or of several in a row.

    `ended` is '' while it goes on, then `stop`, `closed` or `error`.
    """

    of: int = 1  # how many pictures were asked for
    requests: int = 1  # in how many requests, one after the other
    finished: int = 0  # of these
    doing: str = "Waiting for the engine"
    done: float = 0  # steps, of all pictures of the request that is drawn
    total: float = 0
    eta: float | None = None  # seconds
    number: int = 0  # which picture is being drawn, from 0
    preview: str = ""  # base64 of a PNG, '' before the first and after the last
    info: dict[str, Any] = field(default_factory=dict)  # of Started: model, device, width, height, steps, guidance
    notes: list[str] = field(default_factory=list)  # what the engine wants a person to know
    pictures: list[dict[str, Any]] = field(default_factory=list)  # {name, file, settings}, in the order drawn
    values: dict[str, Any] = field(default_factory=dict)
    ended: str = ""
    error: LabError | None = None
    spent: list[float] = field(default_factory=list)  # seconds of each step
    _last: float = 0  # when the last step was done; 0 before the first of a picture

    def add(self, event: ev.Event) -> None:
        """Take one more event in."""
        match event:
            case ev.Logged(level="warning" | "error"):
                self.notes = [*dict.fromkeys([*self.notes, event.text])]
            case ev.Logged():
                self.doing = event.text
            case ev.Started():
                self.info = dict(event.info)
                self.doing, self._last = "Drawing", 0
            case ev.Progressed():
                if self._last and event.done > self.done:
                    self.spent = [*self.spent, (event.at - self._last) / (event.done - self.done)][-200:]
                self._last = event.at
                self.done, self.total, self.eta = event.done, event.total, event.eta
            case ev.Produced(kind="preview"):
                self.preview = str(event.data.get("png") or "")
                self.number = int(event.data.get("number") or 0)
            case ev.Produced(kind="picture"):
                self.pictures.append({"name": event.name, "file": event.file, "settings": dict(event.data)})
                self.preview, self._last = "", 0
            case ev.Finished():
                self.values |= event.values
                self.finished += 1
                self.ended = (event.reason or "stop") if self.finished == self.requests else ""
            case ev.Cancelled():
                self.ended = "closed"

    def fail(self, error: LabError) -> None:
        """It ended by an error; what was drawn before stays."""
        self.error, self.ended = error, "error"

    @property
    def begun(self) -> bool:
        """Whether the engine works on it; before, it waits in line or its model loads."""
        return bool(self.info)

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return bool(self.ended)

    @property
    def pace(self) -> float:
        """Seconds that a step takes, between the first and the last of a picture; 0 while nobody knows."""
        return sum(self.spent) / len(self.spent) if self.spent else 0.0

    @property
    def left(self) -> float | None:
        """Seconds until all is drawn, as far as known."""
        waiting = self.requests - self.finished - 1
        return None if self.eta is None else self.eta + waiting * self.pace * self.total
