from __future__ import annotations

from backend.engines.turns import Turns


def served(turns: Turns, parts: dict[str, int]) -> list[str]:
    """Who works, part by part, when each id has so many."""
    order = []
    left = dict(parts)
    while (id := turns.next()) is not None:
        order.append(id)
        left[id] -= 1
        turns.done(ended=not left[id])
    return order


def test_owners_take_turns_between_the_parts_of_their_requests() -> None:
    turns = Turns()
    for id, owner in (("a1", "ann"), ("a2", "ann"), ("b1", "bob")):
        turns.enter(id, owner, "tiny")
    assert served(turns, {"a1": 3, "a2": 1, "b1": 2}) == ["a1", "b1", "a1", "b1", "a1", "a2"]


def test_another_model_is_loaded_when_a_request_has_ended() -> None:
    turns = Turns()
    turns.enter("a1", "ann", "tiny")
    turns.enter("b1", "bob", "large")
    turns.enter("a2", "ann", "tiny")
    assert served(turns, {"a1": 2, "b1": 2, "a2": 1}) == ["a1", "a1", "b1", "b1", "a2"]


def test_who_waits_is_told_how_many_come_first() -> None:
    turns = Turns()
    for id, owner in (("a1", "ann"), ("a2", "ann"), ("b1", "bob")):
        turns.enter(id, owner, "tiny")
    assert turns.next() == "a1"
    assert turns.ahead() == {"b1": 1, "a2": 2}
    turns.done(ended=False)
    assert turns.next() == "b1"
    assert turns.ahead() == {"a2": 2}
    assert turns.leave("a1")
    assert not turns.leave("b1")
    assert turns.ahead() == {"a2": 1}
    turns.done(ended=True)
    assert turns.next() == "a2"
    turns.done(ended=True)
    assert turns.next() is None
