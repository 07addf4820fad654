"""Writes a run's log: whole lines, without secrets, and a last word even when the disk is full."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from backend import events as ev
from backend.jobs import Run
from backend.redaction import redactor


class Log:
    """Appends events to the run's log. When the disk fills it frees the reserve, so that the end can be told."""

    def __init__(self, run: Run) -> None:
        self.path = run.log
        self.reserve = run.folder / "reserve"
        self.full = False
        self.redact = redactor(os.environ, run.grants)
        self.file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        if _unended(self.path):
            os.write(self.file, b"\n")  # a writer was killed in mid-line

    def add(self, event: ev.Event) -> bool:
        """False when there is no room."""
        if self.full:
            return False
        try:
            self._write(self.redact(ev.encode(event)))
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self.full = True
            self.reserve.unlink(missing_ok=True)
        return not self.full

    def add_last(self, event: ev.Event) -> None:
        prefix = "\n" if _unended(self.path) else ""
        self._write(prefix + ev.encode(event))

    def _write(self, text: str) -> None:
        data = (text + "\n").encode("utf-8", "replace")
        while data:
            data = data[os.write(self.file, data) :]


def _unended(path: Path) -> bool:
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
