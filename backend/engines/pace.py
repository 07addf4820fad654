"""How many threads make a step quickest."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

_SOON, _LATE = 32, 1024  # steps until a number is tried again: twice as many each time that it was in vain
_TRIAL = 4  # steps that a number is kept for, unless it is as much slower as this:
_HOPELESS = 1.3
_WEIGHT = 0.3  # of the newest measurement


class Pace:
    """Chooses, step by step, between all threads and fewer, by how long steps of about as many answers took.

    On an idle machine more threads are quicker. Where something else computes, such as a training run, they wait for
    one another hundreds of times in every step, and one thread alone is several times quicker. Only 16-bit steps on
    the CPU and packed ones change their number: their bits were found not to depend on it.
    """

    def __init__(self, model: Any, threads: int, packed: bool = False) -> None:
        self._all = threads
        self._numbers: list[int] = []
        fewer = threads if packed or (model.device.type == "cpu" and model.dtype.itemsize == 2) else 0
        while fewer:
            self._numbers.append(fewer)
            fewer //= 2
        self._awake = threads  # of the last step
        self._sizes: dict[int, _Choice] = {}  # by the magnitude of the number of answers

    @contextmanager
    def step(self, answers: int = 1) -> Iterator[None]:
        """Around one step of one token for each of `answers`."""
        import torch

        if len(self._numbers) < 2:
            yield
            return
        choice = self._sizes.setdefault(answers.bit_length(), _Choice(self._numbers))
        before, threads = self._awake, choice.next()
        torch.set_num_threads(threads)
        began = time.perf_counter()
        try:
            yield
        finally:
            if threads <= before:  # else it waked threads, which takes longer than it may save
                choice.note(time.perf_counter() - began)
            self._awake = threads
            torch.set_num_threads(self._all)


class _Choice:
    """Between numbers of threads, for steps of one size."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._spent = dict.fromkeys(numbers, 0.0)  # seconds of a step; 0 is not measured yet
        self._waited = dict.fromkeys(numbers, 0)  # steps since each was tried
        self._patience = dict.fromkeys(numbers, _SOON)  # steps until each is tried again
        self._best = self._now = numbers[0]
        self._left = _TRIAL

    def next(self) -> int:
        """The number for one more step."""
        for number in self._waited:
            self._waited[number] += 1
        if self._left:
            self._left -= 1
        else:
            self._choose()
        self._waited[self._now] = 0
        return self._now

    def _choose(self) -> None:
        best = min(self._spent, key=lambda number: self._spent[number])
        if best != self._best:  # what was the best until now may soon be so again
            self._patience[self._best] = _SOON
        elif self._now != best:  # it was tried in vain
            self._patience[self._now] = min(2 * self._patience[self._now], _LATE)
        self._best = chosen = best
        for number in self._spent:
            if number != best and self._waited[number] >= self._patience[number]:
                chosen = number
        if chosen != self._now:
            self._now, self._left = chosen, _TRIAL - 1

    def note(self, spent: float) -> None:
        """How long that step took."""
        known = self._spent[self._now]
        # What was quick was possible. A slow step may be an accident: only several of them count for much.
        slower = known and spent > known
        self._spent[self._now] = known + _WEIGHT * (min(spent, _HOPELESS * known) - known) if slower else spent
        if spent > _HOPELESS * min(self._spent.values()) > 0:
            self._left = 0
