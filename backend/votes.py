"""Votes between two answers, kept as data sets of their owner: preferences, for DPO, and those without a winner.

A row of the first is {prompt, chosen, rejected, …}, conversational as trainers take it; beside it stand who gave the
answers, with which settings, and which side won. Voting again on the same answers changes the vote.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backend.door import door
from backend.errors import BadInput
from backend.store import Store, room

PREFERENCES, UNDECIDED = "preferences.jsonl", "undecided.jsonl"
VERDICTS = ("a", "b", "tie", "neither")

Messages = Sequence[Mapping[str, str]]


class Votes:
    """The votes of everybody, each owner's in files of their own."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @door
    def cast(
        self,
        owner: str,
        prompt: Messages,
        answers: tuple[str, str],
        settings: tuple[Mapping[str, Any], Mapping[str, Any]],
        verdict: str,
    ) -> None:
        """Keep that side a, side b or none of the two is better. Raises BadInput, NoRoom.

        `prompt` is the conversation before the answers; `settings` are what each side was asked with, model included.
        """
        if verdict not in VERDICTS:
            raise BadInput(f"The verdict {verdict[:20]!r} is unknown.", f"Use one of {', '.join(VERDICTS)}.")
        if not prompt or not all(answer.strip() for answer in answers):
            raise BadInput("There are no two answers to vote on.", "Let both sides answer first.")
        if answers[0] == answers[1] and verdict in ("a", "b"):
            raise BadInput("Both answers are the same: neither is better.", "Vote for a tie, or change a seed.")
        asked = [dict(message) for message in prompt]
        told = json.dumps([asked, *answers], ensure_ascii=False)
        row: dict[str, Any] = {"id": hashlib.sha256(told.encode()).hexdigest()[:16], "prompt": asked}
        first, second = ([{"role": "assistant", "content": answer}] for answer in answers)
        about = [json.dumps(dict(one), ensure_ascii=False) for one in settings]
        if verdict in ("a", "b"):
            better = VERDICTS.index(verdict)
            row |= {"chosen": (first, second)[better], "rejected": (first, second)[1 - better], "verdict": verdict}
            row |= {"chosen_settings": about[better], "rejected_settings": about[1 - better]}
        else:
            row |= {"first": first, "second": second, "verdict": verdict}
            row |= {"first_settings": about[0], "second_settings": about[1]}
        row["voted"] = time.time()
        with self._store.locked("votes"):
            for name in (PREFERENCES, UNDECIDED):
                rows = [one for one in self._rows(owner, name) if one["id"] != row["id"]]
                mine = name == (PREFERENCES if verdict in ("a", "b") else UNDECIDED)
                if mine or len(rows) < len(self._rows(owner, name)):
                    self._write(owner, name, [*rows, row] if mine else rows)

    @door
    def counts(self, owner: str) -> dict[str, int]:
        """How many votes of each verdict: {a, b, tie, neither}."""
        counted = Counter(row["verdict"] for name in (PREFERENCES, UNDECIDED) for row in self._rows(owner, name))
        return {verdict: counted[verdict] for verdict in VERDICTS}

    def dataset(self, owner: str, name: str = PREFERENCES) -> str:
        """The name by which the catalog knows the owner's rows, whether there are any yet or not."""
        return f"upload/{_key(owner, name)}/{name}"

    @door
    def text(self, owner: str, name: str = PREFERENCES) -> str:
        """The rows as JSON lines; '' when there are none."""
        path = self._path(owner, name)
        return path.read_text() if path.exists() else ""

    def _rows(self, owner: str, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text(owner, name).splitlines() if line]

    def _path(self, owner: str, name: str) -> Path:
        return self._store.home / "uploads" / _key(owner, name) / name

    def _write(self, owner: str, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """The whole file anew, so that nobody reads a half; without rows there is no file."""
        path = self._path(owner, name)
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        with room(self._store.home, len(text.encode())):
            if not rows:
                self._store.disown(_key(owner, name))
                path.unlink(missing_ok=True)
                return
            path.parent.mkdir(exist_ok=True)
            new = path.with_suffix(".new")
            new.write_text(text)
            new.replace(path)
            self._store.adopt(_key(owner, name), owner, name)


def _key(owner: str, name: str) -> str:
    return hashlib.sha256(f"votes {owner} {name}".encode()).hexdigest()[:16]
