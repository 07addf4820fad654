"""Checks of a dataset as a run: duplicates, leaks, odd lengths, languages, personal data, over all its rows.

    mkdir -p /tmp/first && echo '{"column": "messages"}' > /tmp/first/params.json
    python -m backend.recipes.quality /tmp/first/params.json

What it finds comes to `findings.json`: [{check, column, title, count, looked_at, sample, filters, detail}].
"""

from __future__ import annotations

import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from pydantic import Field

from backend import events as ev
from backend.errors import LabError
from backend.recipes import process, table
from backend.recipes.process import say

FINDINGS = "findings.json"


class Params(table.TableParams):
    """Which column is checked, and against what."""

    column: str = Field("", title="Column", description="With text or chats")
    other: str = Field("", title="Leaks into", description="Another dataset with the same column; empty for none")
    other_split: str = Field("", title="Split of it", description="Without another dataset: a split of this one")
    whole: bool = Field(True, title="All rows", description="Otherwise the first ones")


def preflight(params: Params) -> None:
    """Raises BadInput."""
    table.check(params, params.column)


def run(params: Params, folder: Path) -> None:
    """Check, and write what was found. Raises LabError."""
    from backend.tables import quality

    say(ev.Started(info={"dataset": params.dataset, "column": params.column}))
    opened = table.open(params, folder)
    against = None
    if params.other or params.other_split:
        told = {"split": params.other_split} | (
            {"dataset": params.other, "config": "", "revision": ""} if params.other else {}
        )
        against = table.open(params.model_copy(update=told), folder)
    say(ev.Logged(text=f"Checking {opened.rows:,} rows of {params.column!r}."))

    def tell(done: float, total: float) -> None:
        say(ev.Progressed(done=done, total=total, unit="checks"))

    try:
        found = quality.check(
            opened, params.column, other=against, whole=params.whole, say=tell, stop=table.Wish(folder)
        )
    except LabError as error:
        if error.code != "stopped.owner":
            raise
        say(ev.Paused(reason="stopped by its owner; resuming begins again"))
        return
    (folder / FINDINGS).write_text(json.dumps([asdict(one) for one in found], ensure_ascii=False))
    say(ev.Produced(kind="findings", name="findings", file=FINDINGS))
    for one in found:
        if one.count:
            say(ev.Logged(text=f"{one.count:,} of {one.looked_at:,} rows: {one.title}."))
    say(ev.Finished(reason="checked", values={one.check: one.count for one in found}))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # ends the process that checks, too
    process.leave(process.main(Params, run))
