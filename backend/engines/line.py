"""Who answers now and who waits: as many at once as the machine serves well, and fair between owners."""

from __future__ import annotations

from dataclasses import dataclass

PLACES = 32  # that all answers at once may take
EACH = 24  # that the answers of one owner may take


@dataclass(frozen=True)
class _Guest:
    id: str
    owner: str
    places: int


class Line:
    """Answers by id. An answer takes one place where the model serves many in one step, else several.

    The next to begin is of the owner who has the fewest places, the first come of those. Nobody overtakes an answer
    that is next and needs more places than are free.
    """

    def __init__(self) -> None:
        self._inside: dict[str, _Guest] = {}
        self._waiting: dict[str, _Guest] = {}

    def enter(self, id: str, owner: str, places: int) -> list[str]:
        """Stand in line; who may begin now."""
        self._waiting[id] = _Guest(id, owner, places)
        return self._admit()

    def leave(self, id: str) -> list[str]:
        """An answer has ended, or waits no more; who may begin now."""
        self._inside.pop(id, None)
        self._waiting.pop(id, None)
        return self._admit()

    def ahead(self) -> dict[str, int]:
        """How many answers begin or end before each of those that wait, the next one first."""
        return {guest.id: number for number, guest in enumerate(self._order(), 1)}

    def _admit(self) -> list[str]:
        begun = []
        while order := self._order():
            first = order[0]
            taken = sum(guest.places for guest in self._inside.values())
            if self._inside and taken + first.places > PLACES:
                break
            if (own := self._taken(first.owner)) and own + first.places > EACH:
                break
            del self._waiting[first.id]
            self._inside[first.id] = first
            begun.append(first.id)
        return begun

    def _order(self) -> list[_Guest]:
        """Sorting keeps those of equal claim as they came."""
        return sorted(self._waiting.values(), key=lambda guest: self._taken(guest.owner))

    def _taken(self, owner: str) -> int:
        return sum(guest.places for guest in self._inside.values() if guest.owner == owner)
