from __future__ import annotations

import torch

from backend.engines.prefixes import Prefix, Prefixes

CHUNK = 4


def prefix(*tokens: int) -> Prefix:
    """100 bytes a token."""
    keys = torch.zeros(1, 1, len(tokens), 50, dtype=torch.uint8)
    return Prefix(tokens, ((keys, keys.clone()),))


def test_whole_chunks_are_found_and_never_all_of_a_prompt() -> None:
    prefixes = Prefixes(10_000)
    prefixes.keep("voice", known := prefix(*range(8)))
    assert prefixes.find("voice", list(range(12)), CHUNK) == (8, known)
    assert prefixes.find("voice", [*range(6), 99, 99, 99], CHUNK) == (4, known)
    assert prefixes.find("voice", list(range(8)), CHUNK) == (4, known)
    assert prefixes.find("voice", [99, *range(11)], CHUNK) == (0, None)
    assert prefixes.find("another voice", list(range(12)), CHUNK) == (0, None)


def test_the_longest_match_wins_and_replaces_what_it_goes_on_from() -> None:
    prefixes = Prefixes(10_000)
    prefixes.keep("voice", prefix(*range(4)))
    prefixes.keep("voice", longer := prefix(*range(8)))
    prefixes.keep("voice", prefix(0, 1, 2, 3, 9, 9, 9, 9))
    assert prefixes.find("voice", list(range(12)), CHUNK) == (8, longer)
    assert len(prefixes._kept) == 2


def test_memory_is_bounded_and_the_longest_unused_goes_first() -> None:
    prefixes = Prefixes(1000)
    prefixes.keep("a", prefix(*range(4)))
    prefixes.keep("b", prefix(*range(4)))
    prefixes.find("a", list(range(5)), CHUNK)
    prefixes.keep("c", prefix(*range(4)))
    assert [prefixes.find(voice, list(range(5)), CHUNK)[0] for voice in "abc"] == [4, 0, 4]
    prefixes.keep("d", prefix(*range(400)))  # too large for the whole limit
    assert prefixes.find("d", list(range(400)), CHUNK)[0] == 0


def test_a_voice_is_forgotten() -> None:
    prefixes = Prefixes(1000)
    prefixes.keep("a", prefix(*range(4)))
    prefixes.keep("b", prefix(*range(4)))
    prefixes.forget("a")
    assert [prefixes.find(voice, list(range(5)), CHUNK)[0] for voice in "ab"] == [0, 4]
