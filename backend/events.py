"""What can happen to a job, as frozen values with one line of wire form.

A process prints ordinary lines plus `@event {json}`; `parse` gives back a typed event, or `Wrote` for
anything else, so a file written by an older or newer Atelier still opens. A run's `events.jsonl` holds
the JSON alone, one event a line.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

MARK = "@event "


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened, `at` seconds since the epoch."""

    ends: ClassVar[bool] = False
    at: float = field(default_factory=time.time)


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    """Work began (again, when `step` > 0). `info` tells device, precision, threads, model, sizes."""

    step: int = 0
    info: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Wrote(Event):
    """Plain text: a line of a log, or the next piece of an answer.

    Where they were asked for, `chances` tells of each token of the piece, before temperature and all other settings:
    {text, p, top: [[text, p], …]}. A token's text may be a part of a character.
    """

    text: str = ""
    chances: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Logged(Event):
    """A message meant for a person. `level` is debug, info, warning or error."""

    level: str = "info"
    text: str = ""


@dataclass(frozen=True, kw_only=True)
class Measured(Event):
    """Figures at a step: loss, learning_rate, tokens_per_second, …"""

    step: int = 0
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Progressed(Event):
    """`done` of `total` units; `eta` in seconds where known."""

    done: float = 0
    total: float = 0
    unit: str = "steps"
    eta: float | None = None


@dataclass(frozen=True, kw_only=True)
class Produced(Event):
    """An artifact. `kind` is adapter, checkpoint, samples …; `file` is a file or folder in the run's folder.

    It is not named `path`: Gradio's client takes any object with a `path` for a file to download.
    """

    kind: str = ""
    name: str = ""
    file: str = ""
    step: int = 0
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Paused(Event):
    """Stopped with everything saved; can be resumed."""

    ends: ClassVar[bool] = True
    step: int = 0
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Failed(Event):
    """An error ended it."""

    ends: ClassVar[bool] = True
    code: str = "broken"
    message: str = ""
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class Cancelled(Event):
    """Its owner ended it."""

    ends: ClassVar[bool] = True
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Finished(Event):
    """Done. `reason` says how (`stop`, `length`, `closed` for an answer); `values` are the closing figures."""

    ends: ClassVar[bool] = True
    reason: str = ""
    values: dict[str, Any] = field(default_factory=dict)


TYPES: dict[str, type[Event]] = {
    kind.__name__: kind
    for kind in (Started, Wrote, Logged, Measured, Progressed, Produced, Paused, Failed, Cancelled, Finished)
}


def _plain(value: Any) -> Any:
    """JSON has no NaN: a loss that is not a number travels as a string and `float()` reads it back."""
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value


def encode(event: Event) -> str:
    """One JSON object on one line, without the newline."""
    return json.dumps({"type": type(event).__name__} | _plain(asdict(event)), ensure_ascii=False, default=str)


def line(event: Event) -> str:
    """The wire form: what a process prints."""
    return MARK + encode(event)


def parse(text: str) -> Event:
    """A typed event, or `Wrote` for an ordinary line, an unknown type or broken JSON."""
    text = text.rstrip("\r\n")
    body = text.removeprefix(MARK)
    if body.startswith("{"):
        try:
            return typed(json.loads(body))
        except (ValueError, KeyError, TypeError, AttributeError):
            pass
    return Wrote(text=text)


def typed(fields: dict[str, Any]) -> Event:
    """The event that was encoded so. Raises KeyError, TypeError or AttributeError for what is none."""
    kind = TYPES[fields["type"]]
    known = kind.__dataclass_fields__
    return kind(**{name: value for name, value in fields.items() if name in known})


def read(path: Path, after: int = 0, limit: int = 1 << 22) -> tuple[list[Event], int]:
    """Events from byte `after` of a log, at most about `limit` bytes, and the cursor to go on from.

    A last line that is still being written is left for the next call.
    """
    try:
        with path.open("rb") as file:
            file.seek(after)
            chunk = file.read(limit)
            if chunk and b"\n" not in chunk:
                chunk += file.readline()
    except FileNotFoundError:
        return [], after
    whole = chunk[: chunk.rfind(b"\n") + 1]
    return [parse(row) for row in whole.decode("utf-8", "replace").split("\n") if row], after + len(whole)
