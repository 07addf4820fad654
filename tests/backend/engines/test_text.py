from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backend import events as ev
from backend.engines import decoding
from backend.engines.decoding import Decoding
from backend.engines.text import ChatParams, CompleteParams, InspectParams, TextEngine
from backend.errors import BadInput
from backend.recipes.params import check
from tests.backend.engines.talk import asks, said
from tests.tiny import tiny_model

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT's own

USER = {"role": "user", "content": "Hello?"}
ANSWER = {"role": "assistant", "content": "Hello."}
SYSTEM = {"role": "system", "content": "Be brief."}

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no messages": ({}, "messages is missing"),
    "an empty list": ({"messages": []}, "messages is []"),
    "an empty message": ({"messages": [{"role": "user", "content": ""}]}, "write something"),
    "blanks": ({"messages": [{"role": "user", "content": " \n"}]}, "messages.0.content is ' \\n'; write something"),
    "an unknown role": ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role is 'tool'; use system,"),
    "no text": ({"messages": [{"role": "user", "content": 3}]}, "messages.0.content is 3; it must be text"),
    "a system prompt at the end": ({"messages": [SYSTEM]}, "end with one of the user"),
    "two system prompts": ({"messages": [SYSTEM, USER], "system": "Rhyme."}, "second system prompt"),
    "a system prompt in between": ({"messages": [USER, SYSTEM, USER]}, "second system prompt"),
    "nothing to continue": ({"messages": [USER, {"role": "assistant", "content": ""}]}, "remove it"),
    "not to be continued": ({"messages": [USER, ANSWER], "continue_final": False}, "end with one of the user"),
    "too much text": (
        {"messages": [{"role": "user", "content": "x" * 4_000_001}]},
        "4,000,001 characters; use at most",
    ),
    "no tokens": ({"max_new_tokens": 0}, "max_new_tokens is 0; use at least 1."),
    "too many tokens": ({"max_new_tokens": 8193}, "max_new_tokens is 8193; use at most 8,192."),
    "half a token": ({"max_new_tokens": 1.5}, "max_new_tokens is 1.5; it must be a whole number"),
    "a cold temperature": ({"temperature": -1}, "temperature is -1; use at least 0."),
    "a hot temperature": ({"temperature": 2.1}, "temperature is 2.1; use at most 2."),
    "next to nothing": ({"temperature": 0.001}, "temperature is 0.001; use 0, or at least 0.01."),
    "no number": ({"temperature": "warm"}, "temperature is 'warm'; it must be a number"),
    "not a number": ({"temperature": float("nan")}, "temperature is nan"),
    "no top_p": ({"top_p": 0}, "top_p is 0; use more than 0."),
    "more than all": ({"top_p": 1.01}, "top_p is 1.01; use at most 1."),
    "a negative top_k": ({"top_k": -1}, "top_k is -1; use at least 0."),
    "a penalty of nothing": ({"repetition_penalty": 0}, "repetition_penalty is 0; use at least 0.5."),
    "a negative seed": ({"seed": -1}, "seed is -1; use at least 0."),
    "an endless seed": ({"seed": 2**63}, "use less than"),
    "a misspelt name": ({"temprature": 1}, "did you mean 'temperature'?"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_values_name_the_rule_and_the_next_step(what: str) -> None:
    values, message = BAD[what]
    with pytest.raises(BadInput) as caught:
        check(ChatParams, ({} if "messages" in values or what == "no messages" else {"messages": [USER]}) | values)
    assert message in caught.value.message


def test_what_is_left_out_has_its_default() -> None:
    params = check(ChatParams, {"messages": [USER], "model": "", "adapter": None, "seed": 7.0})
    assert (params.model, params.adapter, params.seed) == ("HuggingFaceTB/SmolLM2-135M-Instruct", "", 7)


def test_a_stopped_answer_may_be_empty_in_the_middle() -> None:
    assert check(ChatParams, {"messages": [USER, {"role": "assistant", "content": ""}, USER]}).continues is False


def test_every_field_can_be_drawn() -> None:
    for name, field in ChatParams.model_fields.items():
        assert field.description, name
        assert field.title or name == "messages"


def test_the_events_of_an_answer(engine: TextEngine, tiny: Path) -> None:
    events = list(engine.stream(asks(tiny, "Hi.", max_new_tokens=12)))
    started, *between, measured, finished = events
    assert isinstance(started, ev.Started)
    assert started.info["model"] == str(tiny)
    assert started.info["context"] == 512
    assert started.info.keys() >= {"adapter", "prompt_tokens", "device", "dtype"}
    assert {type(event) for event in between} <= {ev.Wrote, ev.Measured}
    assert isinstance(measured, ev.Measured)
    assert isinstance(finished, ev.Finished)
    assert finished.reason == "length"
    assert finished.values == measured.values
    assert finished.values["tokens"] == 12
    assert finished.values["prompt_tokens"] == started.info["prompt_tokens"]
    assert finished.values["seconds_to_first_token"] > 0
    assert finished.values["tokens_per_second"] > 0


def test_an_answer_stops_at_its_end_token(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TextEngine()
    whole = said(engine.stream(asks(tiny)))
    words = engine.shelf.words(str(tiny))
    token = words.tokenizer(whole)["input_ids"][3]
    monkeypatch.setattr(words, "ends", frozenset([token, 2]))
    finished = list(engine.stream(asks(tiny)))[-1]
    assert isinstance(finished, ev.Finished)
    assert finished.reason == "stop"
    assert finished.values["tokens"] <= 4


def test_a_seed_repeats_and_another_does_not(engine: TextEngine, tiny: Path) -> None:
    one, two, three = (said(engine.stream(asks(tiny, temperature=1, seed=seed))) for seed in (1, 1, 2))
    assert one == two != three


def test_what_does_not_fit_is_refused_not_trimmed(engine: TextEngine, tiny: Path) -> None:
    with pytest.raises(BadInput) as caught:
        list(engine.stream(asks(tiny, "x" * 600)))
    assert f"has 619 tokens, and {tiny} reads at most 512" in caught.value.message
    assert "Shorten" in caught.value.hint


def test_an_answer_ends_where_the_context_ends(engine: TextEngine, tiny: Path) -> None:
    finished = list(engine.stream(asks(tiny, "x" * 470, max_new_tokens=100)))[-1]
    assert isinstance(finished, ev.Finished)
    assert finished.reason == "context"
    assert finished.values["tokens"] + finished.values["prompt_tokens"] == 512


def test_a_model_without_a_chat_template(engine: TextEngine, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="has no chat template") as caught:
        list(engine.stream(asks(tiny_model(tmp_path, chat=False))))
    assert "Instruct" in caught.value.hint


def test_a_template_that_refuses(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TextEngine()
    words = engine.shelf.words(str(tiny))
    monkeypatch.setattr(words.tokenizer, "chat_template", "{{ raise_exception('System role not supported') }}")
    with pytest.raises(BadInput, match="does not take this conversation: System role not supported"):
        list(engine.stream(asks(tiny, system="Be brief.")))


def test_inspection_shows_the_prompt_that_is_read(engine: TextEngine, tiny: Path) -> None:
    params = InspectParams(messages=[USER], model=str(tiny), system="Be brief.")
    (finished,) = list(engine.stream(params))
    assert isinstance(finished, ev.Finished)
    assert finished.values["prompt"] == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHello?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert finished.values["context"] == 512
    started = next(engine.stream(asks(tiny, system="Be brief.")))
    assert isinstance(started, ev.Started)
    assert started.info["prompt_tokens"] == finished.values["tokens"]


def test_inspection_needs_no_weights(tiny: Path, tmp_path: Path) -> None:
    for path in tiny.iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    engine = TextEngine()
    params = InspectParams(messages=[USER], model=str(tmp_path))
    assert not engine.ready(params)
    engine.prepare(params)
    assert engine.ready(params)
    assert len(list(engine.stream(params))) == 1
    with pytest.raises(BadInput, match="safetensors"):
        engine.load(str(tmp_path))


def test_a_closed_answer_makes_no_more_steps_and_leaves_nothing(
    engine: TextEngine, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[Decoding] = []
    forward = Decoding._forward
    monkeypatch.setattr(Decoding, "_forward", lambda self, ids: (steps.append(self), forward(self, ids))[1])
    answer = engine.stream(asks(tiny, max_new_tokens=200))
    for number, event in enumerate(answer):
        if number == 5:
            assert isinstance(event, ev.Wrote | ev.Measured)
            break
    taken, held = len(steps), weakref.ref(steps[0])
    assert taken <= 6
    steps.clear()
    answer.close()
    del answer
    gc.collect()
    assert steps == []
    assert held() is None


def test_each_event_costs_one_step_at_most(engine: TextEngine, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long prompt is read in pieces, between which others answer."""
    monkeypatch.setattr(decoding, "CHUNK", 32)
    lengths: list[int] = []
    forward = Decoding._forward
    monkeypatch.setattr(Decoding, "_forward", lambda self, ids: (lengths.append(ids.shape[1]), forward(self, ids))[1])
    reading = []
    for event in engine.stream(asks(tiny, "y" * 200, max_new_tokens=5)):
        assert len(lengths) <= 1 or isinstance(event, ev.Wrote)  # the first word comes with the last chunk's step
        reading += [event.done] if isinstance(event, ev.Progressed) else []
        assert max(lengths, default=0) <= 32
        lengths.clear()
    assert reading == [32, 64, 96, 128, 160, 192]


def test_streams_side_by_side_say_what_each_says_alone(
    engine: TextEngine, tiny: Path, lora: Path, adapters: Callable[..., Path]
) -> None:
    """Base and two adapters on one set of weights, advanced in turn; no one leaks into another."""
    requests = [
        asks(tiny, "Who are you?", seed=1, temperature=0.05),
        asks(tiny, "Who are you?", seed=1, temperature=0.05, adapter=str(lora)),
        asks(tiny, "Who are you?", seed=1, temperature=0.05, adapter=str(adapters("lora", 2))),
        asks(tiny, "Who is she?", adapter=str(lora)),
        asks(tiny, "x" * 100),
    ]
    alone = [said(engine.stream(request)) for request in requests]
    assert len(set(alone)) == len(alone)
    streams = {number: engine.stream(request) for number, request in enumerate(requests)}
    texts = dict.fromkeys(streams, "")
    while streams:
        for number, stream in list(streams.items()):
            event = next(stream)
            if isinstance(event, ev.Wrote):
                texts[number] += event.text
            elif event.ends:
                del streams[number]
    assert list(texts.values()) == alone


def test_a_completion_goes_on_from_its_prompt_as_it_is(engine: TextEngine, tiny: Path) -> None:
    """The same tokens as `generate`, without a template."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    prompt = "Once upon a time  \n"
    params = CompleteParams(model=str(tiny), prompt=prompt, max_new_tokens=20, temperature=0)
    started, *rest = engine.stream(params)
    assert isinstance(started, ev.Started)
    text, dtype = said(rest), started.info["dtype"]
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=getattr(torch, dtype))
    inputs = tokenizer(prompt, return_tensors="pt")
    output = model.generate(**inputs, max_new_tokens=20, do_sample=False)[0, inputs["input_ids"].shape[1] :]
    assert text == tokenizer.decode(output, skip_special_tokens=True) != ""
    with pytest.raises(BadInput, match=r"The prompt has 600 tokens"):
        list(engine.stream(CompleteParams(model=str(tiny), prompt="x" * 600)))
    with pytest.raises(BadInput, match="prompt is missing"):
        check(CompleteParams, {"prompt": ""})


def test_the_chances_of_each_token(engine: TextEngine, tiny: Path) -> None:
    plain = list(engine.stream(asks(tiny, max_new_tokens=9)))
    assert not any(event.chances for event in plain if isinstance(event, ev.Wrote))
    events = list(engine.stream(asks(tiny, max_new_tokens=9, alternatives=3)))
    chances = [one for event in events if isinstance(event, ev.Wrote) for one in event.chances]
    assert len(chances) == 9
    for one in chances:
        assert len(one["top"]) == 3
        assert one["top"][0] == [one["text"], one["p"]]  # greedy: the likeliest
        assert 1 >= one["top"][0][1] >= one["top"][1][1] >= one["top"][2][1] > 0
