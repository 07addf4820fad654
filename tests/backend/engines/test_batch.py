"""Answers by packed weights: together, each as it would be alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backend import events as ev
from backend.engines import proof
from backend.engines.lean import Lean
from backend.engines.text import TextEngine
from tests.backend.engines.talk import asks, said

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT's own


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> TextEngine:
    """An engine that packs even the tiny model."""
    monkeypatch.setattr(proof, "SMALL", 0)
    return TextEngine()


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What the model is asked from now on: ("read", tokens) and ("step", answers)."""
    made: list[tuple[str, int]] = []
    read, step = Lean.read, Lean.step

    def reads(lean: Lean, tokens: Any, *rest: Any, **named: Any) -> Any:
        made.append(("read", len(tokens)))
        return read(lean, tokens, *rest, **named)

    def steps(lean: Lean, rows: Any) -> Any:
        made.append(("step", len(rows)))
        return step(lean, rows)

    monkeypatch.setattr(Lean, "read", reads)
    monkeypatch.setattr(Lean, "step", steps)
    return made


def in_turn(streams: list[Iterator[ev.Event]]) -> list[str]:
    """What they say when they are asked in turn, as the worker asks."""
    texts, open_ = [""] * len(streams), dict(enumerate(streams))
    while open_:
        for number, stream in list(open_.items()):
            event = next(stream)
            if isinstance(event, ev.Wrote):
                texts[number] += event.text
            elif event.ends:
                assert isinstance(event, ev.Finished), event
                del open_[number]
    return texts


def test_together_they_say_what_each_says_alone(
    packed: TextEngine, tiny: Path, adapters: Callable[..., Path], passes: list[tuple[str, int]]
) -> None:
    """Greedy and drawn, long prompts and short, base and two adapters: one step for all of them."""
    requests = [
        asks(tiny, "Who are you?", seed=1, temperature=0.8),
        asks(tiny, "Who are you?", seed=2, temperature=0.8, repetition_penalty=1.2),
        asks(tiny, "Who are you?", seed=1, temperature=0.8, adapter=str(adapters("lora", 1))),
        asks(tiny, "Who are you?", adapter=str(adapters("lora", 2))),
        asks(tiny, "x" * 300, max_new_tokens=40),
    ]
    started = next(iter(packed.stream(requests[2])))
    assert isinstance(started, ev.Started)
    assert (started.info["path"], started.info["why_plain"]) == ("packed 8-bit", "")
    alone = [said(packed.stream(request)) for request in requests]
    assert len(set(alone)) == len(alone)
    passes.clear()
    assert in_turn([packed.stream(request) for request in requests]) == alone
    steps = [count for kind, count in passes if kind == "step"]
    assert max(steps) == 5
    assert len(steps) < 60  # not the 130 that they have written


def test_a_closed_answer_takes_part_in_no_more_steps(
    packed: TextEngine, tiny: Path, passes: list[tuple[str, int]]
) -> None:
    streams = [packed.stream(asks(tiny, f"Hello {number}?", max_new_tokens=50)) for number in range(3)]
    for _ in range(12):
        for stream in streams:
            next(stream)
    assert passes[-1] == ("step", 3)
    streams[1].close()
    passes.clear()
    for _ in range(4):
        next(streams[0]), next(streams[2])
    assert {count for _, count in passes} == {2}


def test_one_chunk_of_a_prompt_is_read_between_two_steps(
    packed: TextEngine, tiny: Path, passes: list[tuple[str, int]]
) -> None:
    """Whoever writes goes on writing while others read; a short prompt does not wait for all of a long one."""
    writer = packed.stream(asks(tiny, "Hi.", max_new_tokens=60))
    for _ in range(6):
        next(writer)
    long = packed.stream(asks(tiny, "y" * 430, max_new_tokens=1))
    short = packed.stream(asks(tiny, "z", max_new_tokens=30))
    passes.clear()
    for _ in range(12):
        for stream in (writer, long, short):
            next(stream, None)
    kinds = "".join(kind[0] for kind, _ in passes)
    assert "rr" not in kinds
    reads = [count for kind, count in passes if kind == "read"]
    assert max(reads) == 128
    assert len(reads) == 5  # four chunks and the short one
    assert reads[-1] != min(reads)  # the short one was not last


def test_nobody_waits_for_one_who_is_not_asked(packed: TextEngine, tiny: Path) -> None:
    held = packed.stream(asks(tiny, "Hi.", max_new_tokens=60))
    unread = packed.stream(asks(tiny, "x" * 300))
    for _ in range(6):
        next(held)
    next(unread)
    assert said(packed.stream(asks(tiny, "y" * 300, max_new_tokens=20))) != ""


@pytest.mark.parametrize("adapter", ["", "lora"])
def test_the_next_turn_reads_only_what_is_new_and_says_the_same(
    packed: TextEngine, tiny: Path, adapters: Callable[..., Path], adapter: str, passes: list[tuple[str, int]]
) -> None:
    folder = str(adapters(adapter)) if adapter else ""
    first = [{"role": "user", "content": "Tell me of the sea and of the ships that sail on it, and of the gulls."}]
    later = [*first, {"role": "assistant", "content": "They sail."}, {"role": "user", "content": "Where to?"}]
    fresh = said(packed.stream(asks(tiny, messages=later, adapter=folder)))
    packed._forget(packed.shelf._bases[str(tiny)].voices[folder].key)
    said(packed.stream(asks(tiny, messages=first, adapter=folder)))
    passes.clear()
    assert said(packed.stream(asks(tiny, messages=later, adapter=folder))) == fresh
    assert 0 < sum(count for kind, count in passes if kind == "read") < 100  # of 165


@pytest.mark.parametrize("kind", ["ia3", "prefix", "prompt"])
def test_other_adapters_answer_plainly_and_say_so(
    packed: TextEngine, tiny: Path, adapters: Callable[..., Path], kind: str
) -> None:
    started, *rest = packed.stream(asks(tiny, adapter=str(adapters(kind))))
    assert isinstance(started, ev.Started)
    assert (started.info["path"], started.info["why_plain"]) == ("plain", "its adapter is more than low-rank products")
    assert said(rest)


def test_exact_answers_are_plain(packed: TextEngine, tiny: Path, passes: list[tuple[str, int]]) -> None:
    packed.load(str(tiny))
    plain = TextEngine()
    plain.load(str(tiny))
    passes.clear()
    started, *rest = packed.stream(asks(tiny, exact=True))
    assert isinstance(started, ev.Started)
    assert started.info["path"] == "plain"
    assert said(rest) == said(plain.stream(asks(tiny, exact=True)))
    assert passes == []
