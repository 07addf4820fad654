from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backend.engines.spelling import Speller

TEXTS = [
    "plain words, with  two spaces ",
    "👩‍👩‍👧 family, 漢字かな交じり文, naïve café",
    "  \n\tlead",
    "�",
    "a�b",
    "𝔘𝔫𝔦 🇩🇪",
]


@pytest.fixture(scope="module")
def tokenizer(tiny: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny)


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_are_whole_characters_and_join_to_the_text(tokenizer: Any, text: str) -> None:
    """Every token of the tiny model is a byte, so each 👩 comes in four."""
    speller = Speller(tokenizer)
    pieces = [speller.add(token) for token in tokenizer(text)["input_ids"]]
    assert "".join(pieces) + speller.rest() == text
    if "�" not in text:
        assert not any("�" in piece for piece in pieces)
        assert sum(1 for piece in pieces if piece) == len(text)


@pytest.mark.parametrize("text", TEXTS)
def test_the_starters_tokens_too(starter: Path, text: str) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(starter)
    speller = Speller(tokenizer)
    assert "".join(speller.add(token) for token in tokenizer(text)["input_ids"]) + speller.rest() == text


def test_half_a_character_at_the_end_is_shown(tokenizer: Any) -> None:
    speller = Speller(tokenizer)
    half = tokenizer("ok 👩")["input_ids"][:-1]
    assert "".join(speller.add(token) for token in half) == "ok "
    assert speller.rest() == "�"


def test_special_tokens_are_skipped(tokenizer: Any) -> None:
    speller = Speller(tokenizer)
    tokens = tokenizer("a<|im_end|>b")["input_ids"]
    assert "".join(speller.add(token) for token in tokens) == "ab"


def test_bytes_that_never_make_a_character_do_not_pile_up(tokenizer: Any) -> None:
    broken = tokenizer("👩")["input_ids"][1]
    looked: list[int] = []

    class Counting:
        def decode(self, tokens: list[int], **settings: Any) -> str:
            looked.append(len(tokens))
            return str(tokenizer.decode(tokens, **settings))

    speller = Speller(Counting())
    text = "".join(speller.add(broken) for _ in range(500)) + speller.rest()
    assert len(text) == 500
    assert max(looked) <= 32
