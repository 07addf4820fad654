from __future__ import annotations

import html
import threading
import time

import pytest

from backend import events as ev
from backend.errors import BadInput, LabError
from tests.ui.scripted import Scripted
from ui.answers import Answer, meter, question, together


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


def dies():
    yield ev.Wrote(text="so far")
    raise LabError("The engine is gone.", code="engine.died")


def test_an_error_ends_its_own_side_alone():
    left, right = list(together([dies(), ask("one two three four")]))[-1]
    assert (left.text, left.ended, str(left.error)) == ("so far", "error", "The engine is gone.")
    assert (right.text, right.ended, right.error) == ("one two three four ", "stop", None)


def test_an_error_of_our_own_comes_through():
    def broken():
        yield ev.Wrote(text="so far")
        raise ZeroDivisionError

    other = Scripted(0.02)
    with pytest.raises(ZeroDivisionError):
        list(together([broken(), ask("forever", engine=other)]))
    eventually(lambda: other.closed)


def test_stop_ends_all_sides_and_keeps_what_was_said():
    engines, stop = [Scripted(0.01), Scripted(0.01)], threading.Event()
    looks = together([ask("forever", engine=engine) for engine in engines], stop=stop)
    for answers in looks:
        if all(answer.tokens > 3 for answer in answers):
            stop.set()
    assert [answer.ended for answer in answers] == ["closed", "closed"]
    assert all(answer.text.startswith("again again") for answer in answers)
    eventually(lambda: all(engine.closed for engine in engines))


def test_chances_are_gathered():
    (answer,) = list(together([Scripted().stream("complete", {"prompt": "a b", "alternatives": 2})]))[-1]
    assert [one["text"] for one in answer.chances] == ["a ", "b "]
    assert answer.chances[0]["top"] == [["a", 0.75], ["other", 0.25]]


def test_the_meter_counts_prompt_and_answer():
    assert "312 of 2,048 tokens" in meter(Answer(prompt_tokens=300, context=2048, values={"tokens": 12}))
    assert meter(Answer()) == ""


@pytest.mark.parametrize(
    ("info", "way"),
    [
        ({"path": "packed 4-bit"}, " · packed 4-bit weights"),
        ({"path": "plain", "why_plain": "it is <small>"}, " · by transformers' own modules: it is &lt;small&gt;"),
        ({}, "tokens"),
    ],
)
def test_the_meter_says_how_the_answer_is_made(info, way):
    answer = Answer()
    answer.add(ev.Started(info={"context": 100, "prompt_tokens": 3} | info))
    assert html.unescape(meter(answer)).endswith(html.unescape(way))
    assert "<small>" not in meter(answer)


def test_more_than_any_model_reads_is_refused():
    with pytest.raises(BadInput, match="10,000,000 characters; at most 4,000,000"):
        question("x" * 10_000_000)


@pytest.mark.parametrize("text", ["", "  \n ", None])
def test_an_empty_message_is_refused(text):
    with pytest.raises(BadInput, match="The message is empty; write something first"):
        question(text)
