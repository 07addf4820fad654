"""The answers that are open on one packed model, which advance together.

Nobody drives a batch. An answer whose next token is wanted and not there yet makes a step for all that wait for one;
whoever is asked next has its token already. So answers that are asked in turn share every step, and one that is asked
alone makes its steps alone, with the same text.

Prompts are read in chunks between the steps, one chunk a step while others write, so that nobody's text stands still.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backend.engines.choosing import Settings, Step, chooser, likeliest
from backend.engines.lean import Adapter, Lean, Row
from backend.engines.pace import Pace
from backend.engines.prefixes import Prefix, Prefixes

ROWS = 32  # answers in one step
CHUNK = 128  # tokens of a prompt read at once: about as long as a few steps take
GRAIN = 8  # what is known of a prompt is taken over in so many tokens
_AHEAD = 256  # tokens of an answer that its cache has room for at once


class Batch:
    """Who writes and who reads. For one thread."""

    def __init__(self, lean: Lean, pace: Pace) -> None:
        self.lean = lean
        self._pace = pace
        self._writers: list[Member] = []
        self._readers: list[Member] = []  # first come first
        self._clock = 0  # steps made and chunks read
        self._chunks = 0  # read since the last step

    def enter(self, member: Member) -> None:
        self._readers.append(member)

    def leave(self, member: Member) -> None:
        for line in (self._readers, self._writers):
            if member in line:
                line.remove(member)

    def may_read(self, member: Member) -> bool:
        """Whether it is this one's turn: the first in line and the one with least to read take turns.

        Who asks twice while nothing moves may read in any case: those whose turn it is are not being asked.
        """
        if member.denied != self._clock and (
            (self._chunks and self._writers)
            or member is not (self._readers[0] if self._clock % 2 else min(self._readers, key=lambda one: one.unread))
        ):
            member.denied = self._clock
            return False
        return True

    def read(self, member: Member, tokens: Any) -> Any:
        """One chunk of a prompt; the scores after it."""
        self._clock += 1
        self._chunks += 1
        scores = self.lean.read(tokens, member.cache, member.adapter)
        if not member.unread:
            self._readers.remove(member)
            self._writers.append(member)
        return scores

    def step(self, member: Member) -> None:
        """One token on for `member` and for all others that wait."""
        self._clock += 1
        self._chunks = 0
        waiting = [one for one in self._writers if one.waits and one is not member]
        members = sorted([member, *waiting[: ROWS - 1]], key=lambda one: id(one.adapter))
        with self._pace.step(len(members)):
            scores = self.lean.step([Row(one.newest, one.cache, one.adapter, one.best) for one in members])
        for number, one in enumerate(members):
            one.scores = scores[number : number + 1]
            one.waits = False
        self._writers = [one for one in self._writers if one not in members] + members  # longest unserved first


class Member:
    """One answer: reads its prompt in chunks, then gives a token a call, as `Decoding` does."""

    def __init__(
        self,
        batch: Batch,
        key: Any,
        adapter: Adapter | None,
        settings: Settings,
        tokens: list[int],
        longest: int,
        constraints: Sequence[Step] = (),
        chances: bool = False,
    ) -> None:
        """`key` tells prompts of this voice from those of others; with `chances` they will be asked for."""
        import torch

        self._batch = batch
        self._key = key
        self.adapter = adapter
        self._prompt = tokens
        self._ids = torch.zeros((1, len(tokens) + longest), dtype=torch.long)
        self._ids[0, : len(tokens)] = torch.tensor(tokens)
        self._count = len(tokens)
        self._choose = chooser(settings, "cpu", constraints)
        self.best = not (settings.temperature or constraints or chances) and settings.repetition_penalty == 1
        self.cache = batch.lean.cache(len(tokens) + min(longest, _AHEAD))
        self.scores: Any = None  # [1, vocabulary], after the last token read
        self.waits = False  # for the step that reads `newest`
        self.newest = 0
        self.denied = -1

    @property
    def unread(self) -> int:
        return len(self._prompt) - self.cache.length

    def begin(self, prefixes: Prefixes) -> None:
        """Take over what is known of the prompt, and stand in line for the rest."""
        known, prefix = prefixes.find(self._key, self._prompt, GRAIN)
        if prefix is not None:
            self.cache.begin(prefix.layers[0][0][:, :, :, :known])
        self._batch.enter(self)

    def read(self, prefixes: Prefixes) -> int:
        """Read the prompt's next chunk if it is our turn; how many of its tokens are read now."""
        import torch

        if self._batch.may_read(self):
            start = self.cache.length
            with torch.inference_mode():
                self.scores = self._batch.read(self, self._ids[0, start : min(start + CHUNK, len(self._prompt))])
            if not self.unread and (whole := len(self._prompt) // GRAIN * GRAIN) > start // GRAIN * GRAIN:
                kept = self.cache.kept[:, :, :, :whole].clone()
                prefixes.keep(self._key, Prefix(tuple(self._prompt[:whole]), ((kept,),)))
        return self.cache.length

    def next(self) -> int:
        """The next token of the answer."""
        import torch

        with torch.inference_mode():
            if self.waits:
                self._batch.step(self)
            self.newest = int(self._choose(self._ids[:, : self._count], self.scores.clone()))
            self._ids[0, self._count] = self.newest
        self._count += 1
        self.waits = True
        return self.newest

    def chances(self, token: int, count: int) -> tuple[float, list[tuple[int, float]]]:
        """The model's own probability of `token`, which `next` gave last, and the `count` likeliest in its place."""
        return likeliest(self.scores, token, count)

    def close(self) -> None:
        """Take part in no more steps."""
        self._batch.leave(self)
