"""Attention caches of past prompts, so that the next turn of a long chat reads only what is new."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, NamedTuple


class Prefix(NamedTuple):
    """The keys and values of `tokens`: for each layer a pair of tensors [1, heads, length, size].

    Of a packed model it is one tensor for all layers, [layers, 2, heads, length, size].
    """

    tokens: tuple[int, ...]
    layers: tuple[tuple[Any, ...], ...]

    @property
    def bytes(self) -> int:
        return sum(tensor.nbytes for layer in self.layers for tensor in layer)


class Prefixes:
    """The latest prompts of each voice, within `limit` bytes.

    A prompt is read in chunks of fixed size and kept up to its last whole chunk. So going on from a prefix does the
    very sums that reading the prompt from its beginning does, and a seed gives the same text either way; keeping the
    tokens of the answer too would save a little more and change the last bits.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kept: OrderedDict[tuple[Hashable, tuple[int, ...]], Prefix] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, voice: Hashable, tokens: list[int], chunk: int) -> tuple[int, Prefix | None]:
        """How many of `tokens` are known, in whole chunks and never all of them, and the prefix that holds them."""
        best, found = 0, None
        with self._lock:
            for key, prefix in self._kept.items():
                if key[0] == voice and (shared := _shared(prefix.tokens, tokens, chunk)) > best:
                    best, found = shared, prefix
            if found is not None:
                self._kept.move_to_end((voice, found.tokens))
        return best, found

    def keep(self, voice: Hashable, prefix: Prefix) -> None:
        """Keep `prefix` in place of those that it goes on from; the longest unused ones leave when room runs out."""
        with self._lock:
            covered = [k for k in self._kept if k[0] == voice and prefix.tokens[: len(k[1])] == k[1]]
            for key in covered:
                del self._kept[key]
            self._kept[voice, prefix.tokens] = prefix
            while sum(kept.bytes for kept in self._kept.values()) > self.limit:
                self._kept.popitem(last=False)

    def forget(self, voice: Hashable) -> None:
        """Drop what `voice` has read; it is gone or has changed."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == voice]:
                del self._kept[key]


def _shared(known: tuple[int, ...], tokens: list[int], chunk: int) -> int:
    shared = 0
    for start in range(0, min(len(known), len(tokens) - 1) - chunk + 1, chunk):
        if list(known[start : start + chunk]) != tokens[start : start + chunk]:
            break
        shared = start + chunk
    return shared
