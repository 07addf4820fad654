"""What the engine's process says: events as JSON lines, pieces of text that come quickly together.

On a machine whose cores all compute, each message costs the answers time, here and in the web process.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from dataclasses import replace
from typing import IO

from backend import events as ev
from backend.engines.memory import out_of_memory
from backend.errors import Broken, LabError, NoRoom

_RHYTHM = 0.03  # seconds between two pieces of an answer's text, at least,
_SHARE = 0.008  # and for each open answer so much, which bounds the messages of all


class Outbox:
    """Safe for several threads, but for `hold` and `tell`, which are of the one that advances the answers."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._writing = threading.Lock()
        self._held: dict[str, ev.Wrote] = {}  # text that waits for more
        self._told: dict[str, float] = {}  # when a text went out last

    def hold(self, id: str, event: ev.Wrote, answers: int) -> None:
        """Say a text, or keep it for the next one of its answer where the last is not long ago; `answers` are open."""
        if not event.text and not event.chances:
            return
        if held := self._held.get(id):
            event = replace(held, text=held.text + event.text, chances=held.chances + event.chances)
        self._held[id] = event
        if time.monotonic() - self._told.get(id, 0.0) >= max(_RHYTHM, _SHARE * answers):
            self.tell(id)

    def tell(self, id: str) -> None:
        """Say what was held back of an answer."""
        if held := self._held.pop(id, None):
            self._told[id] = time.monotonic()
            self.say(id, held)

    def note(self, id: str, text: str) -> None:
        self.say(id, ev.Logged(text=text))

    def fail(self, id: str, error: Exception) -> None:
        """Say how an answer failed; the unknown goes to stderr with its traceback."""
        if not isinstance(error, LabError):
            traceback.print_exception(error, file=sys.stderr)
            if out_of_memory(error):
                error = NoRoom(
                    "Memory ran out while answering.", "Choose a smaller model, or shorten the conversation."
                )
            else:
                error = Broken(f"{type(error).__name__}: {error}", "Try again; the server's log tells more.")
        self.say(id, ev.Failed(code=error.code, message=error.message, hint=error.hint))

    def say(self, id: str, event: ev.Event) -> None:
        line = f'{{"id": {json.dumps(id)}, "event": {ev.encode(event)}}}\n'
        with self._writing:
            try:
                self._out.write(line)
                self._out.flush()
            except OSError:  # nobody is there to hear
                os._exit(0)

    def forget(self, id: str) -> None:
        """An answer has ended."""
        self._told.pop(id, None)
