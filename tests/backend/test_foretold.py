"""What earlier evaluations tell of the next one's time."""

from __future__ import annotations

from typing import Any

import pytest

from backend.foretold import foretell


def line(name: str = "ab", created: float = 1.0, rows: int = 20, **settings: Any) -> dict[str, Any]:
    """Two models took 10 s and 40 s."""
    given = {"models": ["base", "run/1"], "tasks": ["arc"], "limit": 20} | settings
    about = [{"name": "base", "seconds": 10.0}, {"name": "run/1", "seconds": 40.0}]
    return {"id": name, "created": created, "rows": rows, "settings": given, "about": about}


def test_rows_times_what_a_row_took() -> None:
    told = foretell([line()], ["base", "run/1"], {"tasks": ["arc"]}, 100)
    assert told == {"seconds": 250.0, "rows": 100, "of": ["ab"], "alike": True, "unknown": []}


def test_what_it_takes_to_begin_is_not_taken_by_each_row() -> None:
    one = line() | {"about": [{"seconds": 10.0, "asking": 4.0}, {}]}
    assert foretell([one], ["base"], {"tasks": ["arc"]}, 100)["seconds"] == 26.0


def test_the_newest_alike_is_believed_before_a_newer_one_that_is_not() -> None:
    lines = [line("new", 3.0, tasks=["mmlu"], rows=5), line("mid", 2.0, rows=10), line("old", 1.0)]
    assert foretell(lines, ["base"], {"tasks": ["arc"]}, 10)["of"] == ["mid"]
    other = foretell(lines, ["base"], {"tasks": ["gsm8k"]}, 10)
    assert (other["of"], other["alike"], other["seconds"]) == (["new"], False, 20.0)


def test_all_rows_are_as_many_as_when_all_were_asked() -> None:
    lines = [line("part", 2.0), line("whole", 1.0, rows=400, limit=0)]
    assert foretell(lines, ["base"], {"tasks": ["arc"]}, 0)["rows"] == 400
    assert foretell(lines[:1], ["base"], {"tasks": ["arc"]}, 0)["seconds"] is None


@pytest.mark.parametrize("lines", [[], [line() | {"about": [{"name": "base"}, {}]}], [line(rows=0)]])
def test_what_was_never_measured_is_not_guessed(lines: list[dict[str, Any]]) -> None:
    told = foretell(lines, ["base"], {"tasks": ["arc"]}, 10)
    assert (told["seconds"], told["unknown"]) == (None, ["base"])


def test_a_model_that_is_new_among_known_ones_is_named() -> None:
    told = foretell([line()], ["base", "new"], {"tasks": ["arc"]}, 10)
    assert (told["seconds"], told["unknown"]) == (5.0, ["new"])
