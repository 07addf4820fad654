"""The same text as transformers' `generate`, token for token."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backend.engines import decoding
from backend.engines.text import ChatParams, TextEngine
from tests.backend.engines.talk import asks, said

pytestmark = [  # PEFT's own
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Position ids are not supported:UserWarning"),
]
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0},
    "sampled": {"temperature": 0.8, "top_p": 0.9, "top_k": 40, "repetition_penalty": 1.2, "seed": 7},
    "sampled freely": {"temperature": 1, "top_p": 1, "seed": 3},
    "greedy with penalty": {"temperature": 0, "repetition_penalty": 1.3},
}
Plain = Callable[[ChatParams], str]


@pytest.mark.parametrize("way", WAYS)
def test_the_tiny_model_says_what_generate_says(engine: TextEngine, plain: Plain, tiny: Path, way: str) -> None:
    params = asks(tiny, "Name a colour, please. ✨", **WAYS[way])
    assert said(engine.stream(params)) == plain(params)


@pytest.mark.parametrize("way", ["greedy", "sampled"])
def test_the_starter_says_what_generate_says(engine: TextEngine, plain: Plain, starter: Path, way: str) -> None:
    params = asks(starter, "Name three fruits and say why you like them.", **WAYS[way], max_new_tokens=16, exact=True)
    assert said(engine.stream(params)) == plain(params) != ""


def test_a_prompt_of_many_chunks_is_read_as_generate_reads_it(engine: TextEngine, plain: Plain, starter: Path) -> None:
    text = " ".join(f"On day {day} the fox saw {day * 7} birds." for day in range(80))
    params = asks(starter, f"{text} How many birds did it see on day 3?", max_new_tokens=8, exact=True)
    assert said(engine.stream(params)) == plain(params)


@pytest.mark.parametrize("kind", ["lora", "ia3", "prefix", "prompt", "p"])
def test_every_kind_of_adapter_says_what_generate_says(
    engine: TextEngine, plain: Plain, tiny: Path, adapters: Callable[..., Path], kind: str
) -> None:
    params = asks(tiny, adapter=str(adapters(kind)), temperature=0.03, top_p=1, seed=5)
    text = said(engine.stream(params))
    assert text == plain(params)
    assert text != said(engine.stream(params.model_copy(update={"adapter": ""})))


def test_an_answer_is_continued(engine: TextEngine, plain: Plain, tiny: Path) -> None:
    turns = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": "One, two,"}]
    params = asks(tiny, messages=turns)
    assert said(engine.stream(params)) == plain(params)


@pytest.mark.parametrize("adapter", ["", "lora", "prefix"])
def test_the_next_turn_reads_only_what_is_new_and_says_the_same(
    tiny: Path, adapters: Callable[..., Path], adapter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers after a reused beginning are those of an engine that has never heard of it."""
    monkeypatch.setattr(decoding, "CHUNK", 32)
    lengths: list[int] = []
    forward = decoding.Decoding._forward
    monkeypatch.setattr(
        decoding.Decoding, "_forward", lambda self, ids: (lengths.append(ids.shape[1]), forward(self, ids))[1]
    )
    folder = str(adapters(adapter)) if adapter else ""
    first = [{"role": "user", "content": "Tell me of the sea and of the ships that sail on it."}]
    later = [*first, {"role": "assistant", "content": "They sail."}, {"role": "user", "content": "Where to?"}]
    fresh = said(TextEngine().stream(asks(tiny, messages=later, adapter=folder)))
    engine = TextEngine()
    said(engine.stream(asks(tiny, messages=first, adapter=folder)))
    lengths.clear()
    again = said(engine.stream(asks(tiny, messages=later, adapter=folder)))
    read = sum(length for length in lengths if length > 1)
    whole = len(
        engine.shelf.words(str(tiny)).tokenizer.apply_chat_template(later, add_generation_prompt=True)["input_ids"]
    )
    assert again == fresh
    assert 0 < read <= whole - 64
