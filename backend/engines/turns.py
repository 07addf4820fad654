"""Whose turn it is where one request works at a time, a part of it in one go: the owner who has waited longest."""

from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass


@dataclass(frozen=True)
class _Asked:
    id: str
    owner: str
    kind: str
    came: int


class Turns:
    """Requests by id. Safe for several threads.

    Between two parts of a request others of its kind (with the same model in memory) may come first; requests of
    another kind begin when it has ended.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = itertools.count(1)
        self._waiting: dict[str, _Asked] = {}
        self._works: _Asked | None = None
        self._begun: set[str] = set()  # requests of which parts were done and parts are left
        self._served: dict[str, int] = {}  # by owner, when last

    def enter(self, id: str, owner: str, kind: str) -> None:
        """Stand in line."""
        with self._lock:
            self._waiting[id] = _Asked(id, owner, kind, next(self._count))

    def next(self) -> str | None:
        """Who works now, until `done`; None when nobody waits."""
        with self._lock:
            order = self._order()
            if not order:
                self._served.clear()
                return None
            self._works = order[0]
            del self._waiting[self._works.id]
            self._served[self._works.owner] = next(self._count)
            return self._works.id

    def done(self, ended: bool) -> None:
        """Who worked has ended, or stands in line for its next part."""
        with self._lock:
            if (asked := self._works) is None:
                return
            self._works = None
            self._begun.discard(asked.id)
            if not ended:
                self._begun.add(asked.id)
                self._waiting[asked.id] = asked

    def leave(self, id: str) -> bool:
        """Out of the line; False for one that works now or isn't there."""
        with self._lock:
            self._begun.discard(id)
            return self._waiting.pop(id, None) is not None

    def ahead(self) -> dict[str, int]:
        """How many requests come before each of those that have not begun."""
        with self._lock:
            return {
                asked.id: number + (self._works is not None)
                for number, asked in enumerate(self._order())
                if asked.id not in self._begun
            }

    def _order(self) -> list[_Asked]:
        seen: dict[str, int] = {}
        ranked = []
        for asked in sorted(self._waiting.values(), key=lambda one: one.came):
            seen[asked.owner] = rank = seen.get(asked.owner, -1) + 1
            ranked.append((rank, self._served.get(asked.owner, 0), asked.came, asked))
        begun = {self._waiting[id].kind for id in self._begun if id in self._waiting}
        ranked.sort(key=lambda one: (bool(begun) and one[3].kind not in begun, *one[:3]))
        return [asked for *_, asked in ranked]
