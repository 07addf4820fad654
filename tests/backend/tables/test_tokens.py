"""Tokens of texts under a tokenizer of one's own choice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from backend.errors import BadInput
from backend.tables import tokens
from backend.tables.table import Table


@pytest.fixture
def words(tmp_path: Path) -> Path:
    """A tokenizer that cuts at spaces."""
    cut = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    cut.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    cut.enable_truncation(2)
    cut.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def test_texts_and_chats_are_counted_whole(make: Callable[..., Table], words: Path) -> None:
    chat = [[{"role": "user", "content": "one two"}, {"role": "assistant", "content": "three"}]] * 4
    table = make(t=["a b c", "a", None, "a b"], chat=chat, n=[1, 2, 3, 4])
    found = tokens.lengths(table, "t", words)
    assert (found["min"], found["max"], found["mean"], found["nulls"]) == (1, 3, 2, 1)
    assert [bar["count"] for bar in found["histogram"]] == [1, 1, 1]
    assert tokens.lengths(table, "chat", words)["max"] == 3
    with pytest.raises(BadInput, match="tokens are counted in text"):
        tokens.lengths(table, "n", words)


def test_a_broken_tokenizer_is_told(make: Callable[..., Table], tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BadInput, match="can't be read"):
        tokens.lengths(make(t=["a"]), "t", tmp_path / "tokenizer.json")
