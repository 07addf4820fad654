from __future__ import annotations

from backend.engines.line import EACH, PLACES, Line


def test_everybody_begins_while_there_are_places() -> None:
    line = Line()
    assert [line.enter(str(number), str(number), 1) for number in range(PLACES)] == [[str(n)] for n in range(PLACES)]
    assert line.enter("late", "late", 1) == []
    assert line.ahead() == {"late": 1}
    assert line.leave("7") == ["late"]
    assert line.ahead() == {}


def test_who_has_less_begins_first() -> None:
    line = Line()
    for number in range(40):
        line.enter(f"a{number}", "a", 1)
    for number in range(PLACES - EACH):
        assert line.enter(f"b{number}", "b", 1) == [f"b{number}"]  # one owner never has all places
    for id, owner in (("b", "b"), ("c", "c"), ("c2", "c")):
        assert line.enter(id, owner, 1) == []
    assert list(line.ahead())[:3] == ["c", "c2", "b"]
    assert [line.leave(f"a{number}") for number in range(4)] == [["c"], ["c2"], ["b"], ["a24"]]


def test_a_large_answer_is_not_overtaken() -> None:
    line = Line()
    for number in range(PLACES - 2):
        line.enter(str(number), str(number), 1)
    assert line.enter("large", "x", 8) == []
    assert line.enter("small", "y", 1) == []
    begun = [line.leave(str(number)) for number in range(7)]
    assert begun == [[]] * 5 + [["large"], ["small"]]
    assert Line().enter("larger than all", "x", PLACES + 1) == ["larger than all"]


def test_who_gives_up_is_forgotten() -> None:
    line = Line()
    for number in range(PLACES):
        line.enter(str(number), str(number), 1)
    line.enter("x", "x", 1)
    line.enter("y", "y", 1)
    assert line.leave("x") == []
    assert line.ahead() == {"y": 1}
