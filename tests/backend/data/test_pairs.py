"""The better of two answers: kept at once, taken back, gone on with, saved as a preference dataset."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.data import Data, Source
from backend.data.pairs import Columns
from backend.errors import BadInput, NotFound
from backend.store import Store

ROWS = "q,a,b\none,good,bad\ntwo,worse,better\nthree,x,y\n"
ANSWERS = Columns("q", "a", "b")


@pytest.fixture
def mine(store: Store, tmp_path: Path) -> Source:
    (tmp_path / "two.csv").write_text(ROWS)
    return Source(store.upload("visitor-a", tmp_path / "two.csv", "two.csv"), "visitor-a")


def test_choices_become_a_dataset(data: Data, mine: Source) -> None:
    first = data.pairs.next(mine, ANSWERS)
    assert (first["row"], first["prompt"], {first["left"], first["right"]}) == (0, "one", {"good", "bad"})
    assert data.pairs.next(mine, ANSWERS)["turned"] == first["turned"]  # a look again shows the same sides
    data.pairs.choose(mine, ANSWERS, 0, "first")
    data.pairs.choose(mine, ANSWERS, 1, "second")
    end = data.pairs.choose(mine, ANSWERS, 2, "skip")
    assert (end["row"], end["chosen"], end["skipped"]) == (None, 2, 1)
    made = data.pairs.save(mine, ANSWERS, "best")
    page = data.rows(Source(made, "visitor-a"))
    assert [column["name"] for column in page["columns"]] == ["prompt", "chosen", "rejected"]
    assert page["rows"] == [["one", "good", "bad"], ["two", "better", "worse"]]


def test_one_goes_on_where_one_stopped_and_takes_back(data: Data, mine: Source) -> None:
    data.pairs.choose(mine, ANSWERS, 0, "first")
    assert data.pairs.choose(mine, ANSWERS, 1, "skip")["row"] == 2
    assert data.pairs.choose(mine, ANSWERS, 2, "undo")["row"] == 1
    assert data.pairs.choose(mine, ANSWERS, 1, "second")["row"] == 2
    told = data.pairs.next(mine, ANSWERS)
    assert (told["row"], told["chosen"], told["skipped"]) == (2, 2, 0)


def test_what_can_not_be_chosen_is_told(data: Data, mine: Source) -> None:
    with pytest.raises(BadInput, match="No answer is chosen"):
        data.pairs.save(mine, ANSWERS)
    with pytest.raises(BadInput, match="Choose two columns"):
        data.pairs.next(mine, Columns("q", "a", "a"))
    with pytest.raises(NotFound, match="no column 'z'"):
        data.pairs.next(mine, Columns("z", "a", "b"))
    with pytest.raises(NotFound, match="of yours"):
        data.pairs.next(Source(mine.dataset, "visitor-b"), ANSWERS)
