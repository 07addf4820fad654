"""Chat and Compare as the page calls them, over an engine that answers from a script."""

from __future__ import annotations

import json
import threading
import time
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from tests.ui import scripted
from tests.ui.drawing import ME, drawn
from ui import chat
from ui import conversation as talk
from ui.tabs import text


class Screen:
    """A page with the Text tab, and what is on it."""

    def __init__(self, home: Any) -> None:
        self.lab = scripted.lab(ATELIER_HOME=str(home))
        self.blocks = drawn(text.build, self.lab)
        self.conversation, self.mode = talk.fresh(), "Chat"
        self.form: dict[str, Any] = {}
        self.shown: dict[str, Any] = {}

    def press(self, name: str, message: str = "", **event: Any) -> list[dict[str, Any]]:
        """Everything that the handler shows, by elem_id; the conversation is kept."""
        one = next(one for one in self.blocks.fns.values() if one.fn is not None and one.fn.__name__ == name)
        given = {"text-mode": self.mode, "text-message": message} | self.form
        inputs = [
            self.conversation if part is one.inputs[0] else given.get(str(part.elem_id), getattr(part, "value", None))
            for part in one.inputs
        ]
        first = 3 if name in ("on_send", "on_trim", "on_count") else 2
        told = [*inputs[:first], ME, *inputs[first:]] if name != "on_switch" else inputs
        given_event = [SimpleNamespace(**event)] if event else []
        views = []
        for view in one.fn(*given_event, *told):
            views.append({str(part.elem_id or part._id): value for part, value in view.items()})
            self.shown |= views[-1]
            for value in view.values():
                if isinstance(value, dict) and "turns" in (value.get("sides") or [{}])[0]:
                    self.conversation = value
        return views

    def texts(self, side: int = 0) -> list[str]:
        return [turn["text"].strip() for turn in talk.path(self.conversation["sides"][side])]

    def last(self, side: int = 0) -> dict[str, Any]:
        return talk.path(self.conversation["sides"][side])[-1]


@pytest.fixture
def screen(home) -> Screen:
    return Screen(home)


def live(views):
    return [one for view in views for one in view.values() if isinstance(one, dict) and "blocks" in str(one)]


def test_an_answer_grows_and_is_kept(screen):
    views = screen.press("on_send", "one two three")
    assert screen.texts() == ["one two three", "one two three"]
    assert screen.last()["note"] == "0.01 s to first token · 200.0 tokens/s · 3 tokens"
    assert screen.last()["ended"] == "stop"
    assert views[0]["text-stop"] == gr.update(visible=True)
    assert views[-1]["text-send"] == gr.update(visible=True)
    assert [view["text-message"] for view in views if "text-message" in view] == [""]
    assert "43 of 2,048 tokens" in screen.shown["text-meter-a"]


def test_an_update_carries_the_answer_alone(screen):
    """However long the conversation is: only the first and the last one carry it."""
    for number in range(100):
        side = screen.conversation["sides"][0]
        side = talk.said(talk.said(side, "user", f"question {number}"), "assistant", "word " * 15)
        screen.conversation = screen.conversation | {"sides": [side]}
    views = screen.press("on_send", " ".join(["word"] * 60))
    between = [len(json.dumps(list(view.values()), default=str)) for view in views[1:-1]]
    assert len(screen.texts()) == 202
    assert between
    assert max(between) < 3_000


def test_the_settings_are_asked_and_kept(screen):
    screen.form = {"text-system": "Be brief.", "text-temperature": "0", "text-seed": "7", "text-top-p": ""}
    screen.press("on_send", "asked")
    asked = json.loads(screen.last()["text"])
    assert (asked["system"], asked["temperature"], asked["seed"]) == ("Be brief.", "0", "7")
    assert "top_p" not in asked
    assert "alternatives" not in asked
    assert screen.conversation["sides"][0]["settings"]["system"] == "Be brief."


def test_the_model_is_given_all_turns_in_order(screen):
    screen.press("on_send", "one")
    screen.press("on_send", "asked")
    roles = [one["role"] for one in json.loads(screen.last()["text"])["messages"]]
    assert roles == ["user", "assistant", "user"]


def test_retry_keeps_the_old_version_and_takes_the_next_seed(screen):
    screen.press("on_send", "asked")
    views = screen.press("on_retry", side=0, turn=2)
    assert json.loads(screen.last()["text"])["seed"] == "1"
    assert [view["text-seed"] for view in views if "text-seed" in view] == ["1"]
    side = screen.conversation["sides"][0]
    assert talk.versions(side, screen.last()) == [2, 3]
    assert len(json.loads(screen.last()["text"])["messages"]) == 1


def test_a_retry_in_the_middle_leaves_what_followed_on_its_own_branch(screen):
    screen.press("on_send", "one two")
    screen.press("on_send", "three four")
    screen.press("on_retry", side=0, turn=2)
    assert screen.texts() == ["one two", "one two"]
    screen.conversation = screen.conversation | {"sides": [talk.switched(screen.conversation["sides"][0], 5, -1)]}
    assert screen.texts() == ["one two", "one two", "three four", "three four"]


def test_an_edited_question_is_asked_anew(screen):
    screen.press("on_send", "one two")
    screen.press("on_edit", side=0, turn=1, text="three four")
    assert screen.texts() == ["three four", "three four"]
    assert talk.versions(screen.conversation["sides"][0], talk.path(screen.conversation["sides"][0])[0]) == [1, 3]


def test_an_edited_answer_stands_and_is_read_by_the_model(screen):
    screen.press("on_send", "one two")
    screen.press("on_edit", side=0, turn=2, text="my own words")
    assert screen.texts() == ["one two", "my own words"]
    screen.press("on_send", "asked")
    assert json.loads(screen.last()["text"])["messages"][1]["content"] == "my own words"


def test_continue_goes_on_from_what_is_there(screen):
    screen.press("on_send", "one two")
    screen.press("on_more")
    assert screen.texts() == ["one two", "one two one two"]
    assert len(screen.conversation["sides"][0]["turns"]) == 2


def test_an_error_leaves_all_as_it_was(screen):
    screen.press("on_send", "one")
    before = screen.conversation
    with pytest.raises(gr.Error, match="The engine is gone"):
        screen.press("on_send", "die")
    assert screen.conversation == before
    assert screen.shown["text-send"] == gr.update(visible=True)
    assert screen.shown["text-message"] == "", "cleared by the first; the second left it alone"
    screen.press("on_send", "two")
    assert screen.texts()[-1] == "two"


def test_one_side_fails_and_the_other_goes_on(screen, home):
    folder = home / "models" / "broken"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    screen.mode, screen.form = "Compare", {"text-model-b": "models/broken"}
    screen.press("on_send", "one two")
    assert screen.texts(0) == ["one two", "one two"]
    assert (screen.last(1)["ended"], screen.last(1)["note"]) == ("error", "The engine is gone. Send it again.")
    assert "text-vote" not in screen.shown or screen.shown["text-vote"] == gr.update(visible=False)


def test_both_sides_are_asked_the_same_and_can_be_voted_on(screen):
    screen.mode, screen.form = "Compare", {"text-own": True, "text-b-temperature": "0"}
    screen.press("on_send", "asked")
    left, right = (json.loads(screen.last(side)["text"]) for side in (0, 1))
    assert left["messages"] == right["messages"]
    assert (left["temperature"], right["temperature"]) == ("0.7", "0")
    assert screen.shown["text-vote"] == gr.update(visible=True)


def test_stop_keeps_what_was_said(screen):
    stop = next(one.fn for one in screen.blocks.fns.values() if one.fn is not None and one.fn.__name__ == "on_stop")
    timer = threading.Timer(0.5, stop, [ME])
    timer.start()
    began = time.monotonic()
    screen.press("on_send", "forever")
    assert time.monotonic() - began < 10
    assert screen.last()["ended"] == "closed"
    assert screen.last()["note"].endswith("stopped")
    assert screen.last()["text"].startswith("again again")


def test_two_answers_at_once_are_refused(screen):
    one = next(one for one in screen.blocks.fns.values() if one.fn is not None and one.fn.__name__ == "on_send")
    rest = [getattr(part, "value", None) for part in one.inputs[3:]]
    going = one.fn(screen.conversation, "Chat", "forever", ME, *rest)
    next(going)
    with pytest.raises(gr.Error, match="An answer is being written"):
        screen.press("on_send", "one")
    going.close()
    screen.press("on_send", "one")


def long(screen, turns: int, words: int) -> None:
    side = talk.empty()
    for number in range(turns):
        side = talk.said(side, talk.ROLES[number % 2], " ".join(["word"] * words))
    screen.conversation = screen.conversation | {"sides": [side]}


def test_too_long_a_conversation_offers_to_drop_turns(screen):
    long(screen, 10, 250)
    with pytest.raises(gr.Error, match="It has 2502 tokens"):
        screen.press("on_send", "two words")
    offer = screen.shown["text-trim"]
    assert offer["visible"] is True
    assert offer["value"].startswith("Drop the oldest 4 turns")
    assert len(screen.texts()) == 10
    (conversation, button) = call(screen, "on_trim", "two words")
    assert button == gr.update(visible="hidden")
    screen.conversation = conversation
    assert len(screen.texts()) == 10, "they stay on screen"
    screen.press("on_send", "two words")
    assert screen.texts()[-1] == "two words"


def test_one_message_too_long_has_nothing_to_drop(screen):
    with pytest.raises(gr.Error, match="It has 3000 tokens"):
        screen.press("on_send", " ".join(["word"] * 3000))
    assert screen.shown["text-trim"] == gr.update(visible="hidden")


def call(screen, name: str, message: str = "") -> Any:
    one = next(one for one in screen.blocks.fns.values() if one.fn is not None and one.fn.__name__ == name)
    rest = [getattr(part, "value", None) for part in one.inputs[3:]]
    return one.fn(screen.conversation, screen.mode, message, ME, *rest)


def test_what_is_typed_is_counted(screen):
    screen.press("on_send", "one two three")
    assert "2 tokens to send; with all before them 8 of 2,048" in call(screen, "on_count", "two words")
    assert "tokens" not in call(screen, "on_count", "  ")


def test_a_question_is_switched_on_both_sides_an_answer_on_its_own(screen):
    screen.mode = "Compare"
    screen.press("on_send", "one")
    screen.press("on_edit", side=0, turn=1, text="two")
    switch = next(one.fn for one in screen.blocks.fns.values() if one.fn is not None and one.fn.__name__ == "on_switch")
    back = switch(SimpleNamespace(side=0, turn=3, step=-1), screen.conversation, "Compare")
    assert [talk.path(side)[0]["text"] for side in back["sides"]] == ["one", "one"]
    screen.conversation = back
    screen.press("on_retry", side=1, turn=2)
    one = switch(SimpleNamespace(side=1, turn=5, step=-1), screen.conversation, "Compare")
    assert [talk.path(side)[1]["id"] for side in one["sides"]] == [5, 2]


def test_chances_travel_with_the_answer(screen):
    screen.form = {"text-chances": True}
    views = screen.press("on_send", "one two")
    told = [one["sides"][0]["chances"] for one in live(views)]
    assert told[0] == []
    assert told[-1][1] == {"text": "two ", "p": 0.75, "top": [["two", 0.75], ["other", 0.25]]}


def test_the_code_follows_what_is_on_screen(screen):
    """Opened by a press; told anew at each change; of both sides when comparing."""
    opens = [one for one in screen.blocks.fns.values() if one.fn is not None and one.fn.__name__ == "on_open"]
    code = next(one for one in opens if "text-code" in [part.elem_id for part in one.outputs])
    change = next(
        one
        for one in screen.blocks.fns.values()
        if one.fn is not None and one.fn.__name__ == "on_change" and one.outputs == code.outputs
    )
    form = [getattr(part, "value", None) for part in code.inputs[3:]]
    _, panel, script = code.fn(ME, screen.conversation, "Chat", "Hello?", *form)
    assert panel["visible"] is True
    assert "'Hello?'" in script
    screen.mode = "Compare"
    screen.press("on_send", "And now?")
    *_, script = change.fn(True, ME, screen.conversation, "Compare", "", *form)
    assert script.count("'And now?'") == script.count("model.generate(") == 2
    compile(script, "chat.py", "exec")
    assert change.fn(False, ME, screen.conversation, "Chat", "", *form) == [gr.skip()] * 3
    closed = change.fn(True, ME, talk.fresh(), "Chat", " ", *form)
    assert closed == [False, gr.update(visible="hidden"), ""], "what can't be told is not shown"


def test_a_conversation_of_the_past_comes_with_its_settings(screen):
    opens = [one for one in screen.blocks.fns.values() if one.fn is not None and one.fn.__name__ == "on_open"]
    past = next(one for one in opens if "text-model-b" in [part.elem_id for part in one.outputs])
    sides = [talk.empty() | {"settings": {"model": "a/b", "temperature": "0.2", "system": "Be kind."}}] * 2
    shown = past.fn(talk.fresh("Compare") | {"sides": sides})
    told = {str(part.elem_id): value for part, value in zip(past.outputs, shown, strict=True)}
    assert (told["text-mode"], told["text-model-a"], told["text-model-b"]) == ("Compare", "a/b", "a/b")
    assert (told["text-temperature"]["value"], told["text-system"]["value"]) == ("0.2", "Be kind.")
    assert told["text-max-new-tokens"]["value"] == "256"
    with pytest.raises(gr.Error, match="not a conversation"):
        past.fn({"sides": "broken"})


def test_the_page_is_drawn_what_it_has_not_seen():
    assert chat.drawn(["*hi*", "<b>"]) == [["<p><em>hi</em></p>\n"], ["<p>&lt;b&gt;</p>\n"]]
