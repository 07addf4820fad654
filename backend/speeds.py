"""How long work took on a GPU that is paid by the second, so that the next call asks for little more than it needs."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path
from typing import Any

from backend.store import write

_SMOOTH = 0.3  # weight of the newest
_FIRST = {"start": 12.0, "step": 0.06}  # seconds before the first token and for each, of a model never measured
_MARGIN, _EXTRA = 1.4, 3.0  # what is asked for beside what is thought to be needed: a share, and seconds
LEAST, MOST = 5, 120  # seconds that an answer asks for


class Speeds:
    """Measured seconds by name, kept in one file: `start` until the first step, and `step` for each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._held: dict[str, dict[str, float]] = {}
        if path.exists():
            self._held = json.loads(path.read_text())

    def of(self, name: str) -> dict[str, float]:
        with self._lock:
            return dict(self._held.get(name, _FIRST))

    def learn(self, name: str, **measured: float) -> None:
        """Take one more measurement in."""
        with self._lock:
            known = self._held.get(name, {})
            self._held[name] = known | {
                key: round(value if key not in known else _SMOOTH * value + (1 - _SMOOTH) * known[key], 4)
                for key, value in measured.items()
            }
            write(self._path, self._held)

    def seconds(self, name: str, steps: int) -> int:
        """What to ask for: whole seconds for `steps` of `name`."""
        speed = _FIRST | self.of(name)
        needed = speed["start"] + steps * speed["step"]
        return min(MOST, max(LEAST, math.ceil(_MARGIN * needed + _EXTRA)))


def answered(values: dict[str, Any]) -> dict[str, float]:
    """What the closing figures of an answer tell of its speed; empty when it was too short for that."""
    if values.get("steps") and "drawing" in values:
        start = float(values["seconds"]) - float(values["drawing"])
        return {"start": start, "step": float(values["drawing"]) / int(values["steps"])}
    pace, first = values.get("tokens_per_second"), values.get("seconds_to_first_token")
    return {"start": float(first), "step": 1 / float(pace)} if pace and first is not None else {}
