"""The ballot: what may be voted on, and where the votes go."""

from __future__ import annotations

import json

import gradio as gr
import pytest

from tests.ui import scripted
from tests.ui.drawing import ME, YOU, drawn
from ui import conversation as talk
from ui import votes


@pytest.fixture
def lab(home):
    return scripted.lab(ATELIER_HOME=str(home))


@pytest.fixture
def vote(lab):
    def build(lab, page):
        doc = gr.HTML(talk.fresh())
        votes.listen(lab, votes.build(lab, page), doc)

    blocks = drawn(build, lab)
    clicks = [one.fn for one in blocks.fns.values() if one.fn is not None and one.fn.__name__ == "on_click"]
    return dict(zip((key for key, _ in votes.CHOICES), clicks, strict=True))


def compared(left: list[str], right: list[str], **settings: list[str]) -> talk.Conversation:
    sides = []
    for number, texts in enumerate((left, right)):
        side = talk.empty() | {"settings": {key: value[number] for key, value in settings.items()}}
        for place, text in enumerate(texts):
            side = talk.said(side, talk.ROLES[place % 2], text)
        sides.append(side)
    return talk.fresh("Compare") | {"sides": sides}


def rows(lab):
    (name,) = [name for name in lab.store.uploads(lab_owner()) if name.endswith("preferences.jsonl")]
    return [json.loads(line) for line in lab.store.uploaded(name, lab_owner()).read_text().splitlines()]


def lab_owner() -> str:
    from ui.visitor import owner

    return owner(ME)


def test_a_vote_is_kept_marked_and_counted(lab, vote):
    *marks, _, told = vote["b"](compared(["hi", "Red"], ["hi", "Blue"], model=["a", "b"], system=["s", "s"]), ME)
    (row,) = rows(lab)
    assert row["prompt"] == [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]
    assert row["chosen"][0]["content"] == "Blue"
    assert json.loads(row["rejected_settings"])["model"] == "a"
    assert [mark["variant"] for mark in marks] == ["secondary", "primary", "secondary", "secondary"]
    assert told.startswith("1 preference kept in your data sets, ready for DPO (first 0, second 1)")
    *_, told = vote["tie"](compared(["hi", "Red"], ["hi", "Green"]), ME)
    assert told.endswith("1 tied, 0 both bad")
    *_, told = vote["a"](compared(["hi", "Red"], ["hi", "Green"]), YOU)
    assert told.startswith("1 preference kept")


def test_system_prompts_that_differ_are_no_part_of_the_prompt(lab, vote):
    vote["a"](compared(["hi", "Red"], ["hi", "Blue"], system=["s", "t"]), ME)
    assert [message["role"] for message in rows(lab)[0]["prompt"]] == ["user"]


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (["hi", "Red"], []),
        (["hi", "Red"], ["hi", " "]),
        (["hi", "a", "b", "c"], ["hi", "x", "b", "c"]),
        (["hi"], ["hi"]),
    ],
)
def test_a_preference_is_between_two_answers_to_one_prompt(vote, left, right):
    assert not votes.can_vote(compared(left, right)["sides"])
    with pytest.raises(gr.Error, match="no two answers to the same prompt"):
        vote["a"](compared(left, right), ME)
