from __future__ import annotations

import json
import time

import pytest

from backend.errors import BadInput
from ui import conversation as talk


def spoken(*texts: str) -> talk.Side:
    """A side in which these were said in turn."""
    side = talk.empty()
    for place, text in enumerate(texts):
        side = talk.said(side, talk.ROLES[place % 2], text)
    return side


def texts(side: talk.Side) -> list[str]:
    return [turn["text"] for turn in talk.path(side)]


def test_turns_follow_one_another():
    side = spoken("hi", "hello", "how are you?")
    assert texts(side) == ["hi", "hello", "how are you?"]
    assert talk.prompt(side) == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "how are you?"},
    ]


def test_a_retry_keeps_the_old_answer_and_what_followed_it():
    side = spoken("hi", "hello", "more", "lots")
    again = talk.said(side, "assistant", "hey", parent=1)
    assert texts(again) == ["hi", "hey"]
    assert talk.versions(again, talk.path(again)[1]) == [2, 5]
    back = talk.switched(again, 5, -1)
    assert texts(back) == ["hi", "hello", "more", "lots"]
    assert texts(talk.switched(back, 2, 1)) == ["hi", "hey"]


def test_switching_stops_at_the_ends():
    side = talk.said(spoken("hi", "hello"), "assistant", "hey", parent=1)
    assert texts(talk.switched(side, 3, 1)) == ["hi", "hey"]
    assert texts(talk.switched(side, 2, -1)) == ["hi", "hello"]


def test_an_edited_first_question_begins_another_way():
    side = talk.said(spoken("hi", "hello"), "user", "good day", parent=0)
    assert texts(side) == ["good day"]
    assert texts(talk.switched(side, 3, -1)) == ["hi", "hello"]


def test_nothing_said_before_is_changed():
    side = spoken("hi", "hello")
    held = json.dumps(side)
    talk.switched(talk.changed(talk.said(side, "assistant", "hey", 1), 2, text="?"), 3, -1)
    assert json.dumps(side) == held


def test_dropped_turns_stay_on_screen_and_leave_the_prompt():
    side = spoken("a", "b", "c", "d", "e")
    assert talk.starts(side) == [2, 4]
    short = talk.shorter(side, 2)
    assert texts(short) == ["a", "b", "c", "d", "e"]
    assert [one["content"] for one in talk.prompt(short)] == ["c", "d", "e"]
    assert [one["content"] for one in talk.prompt(talk.shorter(short, 2))] == ["e"]


def test_all_that_was_said_can_be_dropped():
    side = talk.shorter(spoken("a", "b"), 2)
    assert talk.prompt(side) == []
    assert [one["content"] for one in talk.prompt(talk.said(side, "user", "c"))] == ["c"]


def test_a_start_on_another_branch_drops_nothing():
    side = talk.shorter(spoken("a", "b", "c", "d"), 2)
    other = talk.said(side, "user", "other", parent=2)
    assert [one["content"] for one in talk.prompt(other)] == ["a", "b", "other"]


def test_only_an_answer_with_words_is_continued():
    assert talk.unfinished(spoken("hi", "hel"))["text"] == "hel"
    for side in (talk.empty(), spoken("hi"), spoken("hi", " ")):
        with pytest.raises(BadInput, match="no answer to continue"):
            talk.unfinished(side)


def test_a_turn_that_is_gone_is_said():
    with pytest.raises(BadInput, match="not on screen"):
        talk.place(spoken("hi"), 7)
    with pytest.raises(BadInput, match="not in the conversation"):
        talk.switched(spoken("hi"), 7, 1)


def test_comparing_begins_with_an_empty_second_side():
    conversation = talk.fresh()
    assert len(talk.sides(conversation)) == 1
    assert len(talk.sides(conversation, "Compare")) == 2
    assert len(talk.sides(conversation | {"sides": [talk.empty()] * 2}, "Chat")) == 1


def test_a_file_gives_back_what_went_into_it():
    side = talk.said(spoken("hi 🌱", "hel\nlo\u2028"), "assistant", "hey", parent=1) | {
        "settings": {"system": "Be kind."}
    }
    whole = talk.fresh() | {"title": "Greeting", "sides": [side]}
    text = talk.written([whole, talk.fresh()])
    (line,) = text.splitlines() if "\u2028" not in text else text.rstrip("\n").split("\n")
    assert json.loads(line)["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "hi 🌱"},
        {"role": "assistant", "content": "hey"},
    ]
    assert talk.read(text) == [whole]


def test_messages_of_other_programs_are_read():
    lines = [
        {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]},
        {"messages": [{"role": "user", "content": "a", "name": "x"}, {"role": "assistant", "content": "b"}], "id": 3},
    ]
    first, second = talk.read("\ufeff" + "\r\n".join(json.dumps(line) for line in lines) + "\r\n\r\n")
    assert (texts(first["sides"][0]), first["sides"][0]["settings"]) == (["u"], {"system": "s"})
    assert texts(second["sides"][0]) == ["a", "b"]


GOOD = json.dumps({"messages": [{"role": "user", "content": "hi"}]})


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{oops", "Line 2 is not JSON"),
        ("[]", "Line 2 has no list of messages"),
        ('{"text": "hi"}', "Line 2 has no list of messages"),
        ('{"messages": []}', "Line 2 has no list of messages"),
        ('{"messages": ["hi"]}', "Line 2, message 1: 'hi' is no turn"),
        ('{"messages": [{"role": "robot", "content": "hi"}]}', "Line 2, message 1: .*robot.* is no turn"),
        ('{"messages": [{"role": "user", "content": 5}]}', "Line 2, message 1"),
        (
            '{"messages": [{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]}',
            "Line 2, message 2: a system prompt stands first",
        ),
        ('{"conversation": 3}', "Line 2: This is not a conversation"),
        ('{"conversation": {"sides": [{"turns": [{"id": [], "parent": {}}]}]}}', "Line 2: .* is no turn"),
        ('{"conversation": {"sides": [{"turns": [{"id": 2, "parent": 1, "role": "user", "text": ""}]}]}}', "Line 2: "),
    ],
)
def test_a_bad_file_names_the_line(line, said):
    with pytest.raises(BadInput, match=said):
        talk.read(f"{GOOD}\n{line}\n{GOOD}")


def test_an_empty_file_is_said():
    with pytest.raises(BadInput, match="holds no conversation"):
        talk.read("\n \n")


def test_what_the_browser_kept_is_taken_with_care():
    side = spoken("hi") | {"shown": {"0": 1, "1": []}, "start": "x", "settings": {"system": "s", "bad": []}}
    side["turns"][0]["extra"] = {"deep": 1}
    sound = talk.checked({"sides": [side, side, side], "mode": 3, "id": 7})
    assert len(sound["sides"]) == 2
    assert sound["sides"][0] == spoken("hi") | {"settings": {"system": "s"}}
    assert sound["mode"] == "Chat"


def test_two_hundred_turns_take_no_time():
    side = spoken(*["word " * 60] * 400)
    began = time.perf_counter()
    for _ in range(20):
        talk.prompt(side)
    assert time.perf_counter() - began < 0.5
