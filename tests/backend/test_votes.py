from __future__ import annotations

import json
from pathlib import Path

import pytest

from backend.catalog import Catalog
from backend.data import Source
from backend.errors import BadInput, NotFound
from backend.settings import Settings
from backend.store import Store
from backend.votes import UNDECIDED, Votes

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a colour."}]
SETTINGS = ({"model": "a/b", "seed": "0"}, {"model": "a/b", "adapter": "run/ab12", "seed": "0"})


@pytest.fixture
def votes(home: Path) -> Votes:
    return Votes(Store(home))


def rows(votes: Votes, owner: str = "me", **more: str) -> list[dict]:
    return [json.loads(line) for line in votes.text(owner, **more).splitlines()]


def test_a_preference_is_a_row_that_dpo_takes(votes: Votes) -> None:
    votes.cast("me", ASKED, ("Red", "Blue"), SETTINGS, "b")
    (row,) = rows(votes)
    assert row["prompt"] == ASKED
    assert (row["chosen"], row["rejected"]) == (
        [{"role": "assistant", "content": "Blue"}],
        [{"role": "assistant", "content": "Red"}],
    )
    assert json.loads(row["chosen_settings"])["adapter"] == "run/ab12"
    assert votes.counts("me") == {"a": 0, "b": 1, "tie": 0, "neither": 0}


def test_it_is_a_data_set_of_its_owner_alone(votes: Votes, home: Path) -> None:
    votes.cast("me", ASKED, ("Red", "Blue"), SETTINGS, "a")
    catalog = Catalog(Settings.read({"ATELIER_HOME": str(home)}), votes._store)
    name = votes.dataset("me")
    assert name in [entry.name for entry in catalog.datasets("me")]
    assert Path(catalog.dataset(name, "me")).read_text() == votes.text("me")
    with pytest.raises(NotFound):
        catalog.dataset(name, "you")
    assert votes.text("you") == ""
    assert votes.dataset("you") != name


def test_who_votes_again_changes_the_vote(votes: Votes) -> None:
    votes.cast("me", ASKED, ("Red", "Blue"), SETTINGS, "a")
    votes.cast("me", ASKED[1:], ("Red", "Blue"), SETTINGS, "a")
    votes.cast("me", ASKED, ("Red", "Blue"), SETTINGS, "b")
    assert votes.counts("me") == {"a": 1, "b": 1, "tie": 0, "neither": 0}
    votes.cast("me", ASKED, ("Red", "Blue"), SETTINGS, "tie")
    assert votes.counts("me") == {"a": 1, "b": 0, "tie": 1, "neither": 0}
    assert [row["verdict"] for row in rows(votes, name=UNDECIDED)] == ["tie"]


def test_without_rows_there_is_no_data_set(votes: Votes) -> None:
    votes.cast("me", ASKED, ("Red", "Blue"), SETTINGS, "a")
    votes.cast("me", ASKED, ("Red", "Blue"), SETTINGS, "neither")
    assert votes.text("me") == ""
    assert votes._store.uploads("me") == [votes.dataset("me", UNDECIDED)]


@pytest.mark.parametrize(
    ("answers", "verdict", "said"),
    [
        (("Red", "Blue"), "c", "verdict 'c' is unknown"),
        (("Red", " "), "a", "no two answers"),
        (("Red", "Red"), "b", "Both answers are the same"),
    ],
)
def test_what_is_no_vote_is_refused(votes: Votes, answers: tuple[str, str], verdict: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        votes.cast("me", ASKED, answers, SETTINGS, verdict)
    assert votes.text("me") == ""


def test_the_data_tab_opens_them_and_they_grow(home: Path) -> None:
    from tests.ui.scripted import lab

    whole = lab(ATELIER_HOME=str(home))
    for count, answer in enumerate(("Blue", "Green"), 1):
        whole.votes.cast("me", ASKED, ("Red", answer), SETTINGS, "b")
        page = whole.data.rows(Source(whole.votes.dataset("me"), "me"))
        assert page["total"] == count
    whole.data.close()
