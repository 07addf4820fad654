from __future__ import annotations

import threading
import time

import pytest

from backend import events as ev
from backend.errors import BadInput, EngineDied
from tests.ui.scripted import Scripted
from ui.answers import Answer, prompt, question, shown, together, words


def ask(text: str, step: float = 0.005, engine: Scripted | None = None):
    return (engine or Scripted(step)).stream("text", {"messages": [{"role": "user", "content": text}]})


def eventually(true, seconds: float = 1):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_answer_is_the_fold_of_its_events():
    answer = Answer()
    for event in ask("one two three"):
        answer.add(event)
    assert answer.text == "one two three "
    assert (answer.prompt_tokens, answer.context, answer.tokens, answer.ended) == (40, 2048, 3, "stop")
    assert answer.figures == "0.01 s to first token · 200.0 tokens/s · 3 tokens"


def test_figures_say_how_it_ended():
    answer = Answer()
    answer.add(ev.Finished(reason="length", values={"tokens": 1}))
    assert answer.figures == "1 token · longest answer reached"


def test_what_the_engine_does_first_is_told():
    answer = Answer()
    answer.add(ev.Logged(text="Loading the model"))
    assert (answer.doing, answer.text) == ("Loading the model", "")


def test_two_streams_grow_together():
    both_under_way = False
    for left, right in together([ask("a b c d e f g h i j", 0.03), ask("k l m n o p q r s t", 0.03)]):
        both_under_way |= 0 < left.tokens < 10 and 0 < right.tokens < 10
    assert both_under_way
    assert (left.text, right.text) == ("a b c d e f g h i j ", "k l m n o p q r s t ")


def test_looks_are_few():
    looks = list(together([ask(" ".join("x" * 200), 0.002)]))
    assert len(looks) < 30


def test_closing_ends_the_streams_within_a_step():
    engines = [Scripted(0.02), Scripted(0.02)]
    looks = together([ask("forever", engine=engine) for engine in engines])
    next(looks)
    looks.close()
    eventually(lambda: all(engine.closed for engine in engines))


def test_a_silent_engine_does_not_hold_the_caller():
    awake = threading.Event()

    def silent():
        awake.wait(20)
        yield ev.Finished()

    looks = together([silent()])
    began = time.monotonic()
    next(looks)
    looks.close()
    assert time.monotonic() - began < 5
    awake.set()


def test_an_error_comes_through_and_ends_the_other_side():
    def dies():
        yield ev.Wrote(text="so far")
        raise EngineDied("The engine is gone.")

    other = Scripted(0.02)
    with pytest.raises(EngineDied, match="gone"):
        list(together([dies(), ask("forever", engine=other)]))
    eventually(lambda: other.closed)


@pytest.mark.parametrize("text", ["", "  \n ", None])
def test_an_empty_message_is_refused(text):
    with pytest.raises(BadInput, match="The message is empty; write something first"):
        question(text)


def test_the_prompt_leaves_notes_out():
    chat = [
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {"role": "assistant", "content": "hello"},
        {"role": "assistant", "content": [{"type": "text", "text": ""}], "metadata": {"title": "3 tokens"}},
    ]
    assert prompt(chat) == [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
    ]


@pytest.mark.parametrize(
    "text",
    [
        "<script>x</script> a < b",
        "`<b>` and <b>",
        "```html\n<p>hi</p>\n```\n<p>",
        "```\n<open fence",
        "<!-- c --> & </a>",
    ],
)
def test_html_is_shown_as_written_and_read_back(text):
    assert words({"content": shown(text)}) == text


def test_html_outside_code_can_not_be_drawn():
    assert shown("<img src=x> `<img>`") == "&lt;img src=x> `<img>`"
