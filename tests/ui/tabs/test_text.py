from __future__ import annotations

from types import SimpleNamespace

import pytest

from backend.catalog import Entry
from backend.errors import BadInput
from ui.answers import Answer
from ui.tabs import text
from ui.tabs.text import cut, model_choices, said, settle, unfinished

HI, HELLO, NOTE = said("user", "hi"), said("assistant", "hello"), said("assistant", "", "2 tokens")
AND = said("user", "and?")
COUNTING = said("assistant", "", "2 tokens", going=True)
LOADING = said("assistant", "", "Loading the model", going=True)


def test_a_chat_is_cut_before_a_question():
    chat = [HI, HELLO, NOTE, AND, HELLO, NOTE]
    assert cut(chat, 0) == []
    assert cut(chat, 1) == [HI, HELLO, NOTE]
    assert cut(chat, None) == chat == cut(chat, 2)


@pytest.mark.parametrize(("index", "turn"), [(0, 0), (1, 0), (2, 0), (3, 1), (5, 1)])
def test_each_message_belongs_to_a_question(index, turn):
    assert text._turn([HI, HELLO, NOTE, AND, HELLO, NOTE], index) == turn


def test_stopping_keeps_the_text_and_says_so():
    settled, *_ = settle("", [HI, HELLO, COUNTING], [])
    assert settled == [HI, HELLO, said("assistant", "", "2 tokens · stopped")]


def test_what_ended_by_itself_is_left():
    assert settle("", [HI, HELLO, NOTE], [])[0] == [HI, HELLO, NOTE]


@pytest.mark.parametrize("typed", ["and?", " and?\n"])
def test_a_question_without_an_answer_stays_in_the_box_alone(typed):
    assert settle(typed, [HI, HELLO, NOTE, AND, LOADING], [])[0] == [HI, HELLO, NOTE]


def test_a_question_that_left_the_box_stays_in_the_chat():
    assert settle("", [HI, HELLO, NOTE, AND, LOADING], [])[0] == [HI, HELLO, NOTE, AND]
    assert settle("something else", [AND, LOADING], [])[0] == [AND]


def test_send_comes_back_and_stop_goes():
    *_, send, stop, more = settle("", [], [])
    assert (send["visible"], stop["visible"], more["visible"]) == (True, "hidden", "hidden")


@pytest.mark.parametrize(("small", "offered"), [("2 tokens", False), ("2 tokens · longest answer reached", True)])
def test_an_answer_cut_short_can_go_on(small, offered):
    *_, more = settle("", [HI, HELLO, said("assistant", "", small)], [])
    assert more["visible"] == (offered or "hidden")
    assert unfinished([HI, HELLO, NOTE]) == ([HI], "hello")


@pytest.mark.parametrize("chat", [[], [HI], [HI, LOADING]])
def test_without_an_answer_there_is_nothing_to_continue(chat):
    with pytest.raises(BadInput, match="no answer to continue"):
        unfinished(chat)


def test_the_request_is_the_form():
    values = ["Compare", "base", "", "base", "run/ab12", "be brief", 64, 0.0, 0.9, 7]
    left, right = (text._request([HI], values, side) for side in (0, 1))
    assert left == {
        "messages": [{"role": "user", "content": "hi"}], "system": "be brief",
        "model": "base", "adapter": "", "max_new_tokens": 64, "temperature": 0.0, "top_p": 0.9, "seed": 7,
    }  # fmt: skip
    assert right == left | {"adapter": "run/ab12"}


def test_an_emptied_field_takes_its_default():
    values = ["Chat", None, None, None, None, "", None, None, None, None]
    assert text._request([HI], values, 0) == {
        "messages": [{"role": "user", "content": "hi"}], "model": "", "adapter": "", "system": "",
    }  # fmt: skip


def test_the_meter_counts_prompt_and_answer():
    assert "312 of 2,048 tokens" in text._meter(Answer(prompt_tokens=300, context=2048, values={"tokens": 12}))
    assert text._meter(Answer()) == ""


def test_html_of_a_model_is_not_drawn():
    view = text._with([HI], Answer(text="<img src=x onerror=alert(1)>", ended="stop"))
    assert view[1]["content"][0]["text"] == "&lt;img src=x onerror=alert(1)>"


def test_a_model_is_listed_with_where_it_comes_from():
    entries = [Entry("starter", "starter", "ready here"), Entry("a/b", "hub", "3 downloads"), Entry("models/c", "disk")]
    lab = SimpleNamespace(models=lambda query: entries)
    assert model_choices(lab) == [("starter", "starter"), ("a/b · 3 downloads", "a/b"), ("models/c · disk", "models/c")]
