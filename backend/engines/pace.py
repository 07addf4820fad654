"""How many threads make a step of one token quickest."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_PROBE = 128  # steps until a number as quick as the best is tried again; a slower one waits as many times longer
_TRIAL = 4  # steps that a number is kept for; the first wakes threads, which takes longer than it may save
_WEIGHT = 0.3  # of the newest measurement


class Pace:
    """Chooses, step by step, between all threads and fewer, by how long steps took.

    On an idle machine more threads are a little quicker. Where something else computes, such as a training run, they
    wait for one another hundreds of times in every step, and one thread alone is several times quicker. Only 16-bit
    steps on the CPU and packed ones change their number: their bits were found not to depend on it.
    """

    def __init__(self, model: Any, threads: int, packed: bool = False) -> None:
        self._all = threads
        fewer = threads if packed or (model.device.type == "cpu" and model.dtype.itemsize == 2) else 0
        self._spent: dict[int, float] = {}  # seconds of a step by number of threads; 0 is not measured yet
        while fewer:
            self._spent[fewer] = 0.0
            fewer //= 2
        self._waited = dict.fromkeys(self._spent, 0)  # steps since each number was tried
        self._chosen, self._left = threads, 0  # the number, and steps that it is kept for still

    @contextmanager
    def step(self) -> Iterator[None]:
        """Around one step of one token."""
        import torch

        if len(self._spent) < 2:
            yield
            return
        before, threads = self._chosen, self._choose()
        torch.set_num_threads(threads)
        began = time.perf_counter()
        try:
            yield
        finally:
            if threads == before:
                self._note(threads, time.perf_counter() - began)
            torch.set_num_threads(self._all)

    def _note(self, threads: int, spent: float) -> None:
        known = self._spent[threads]
        slower = known and spent > known  # perhaps by accident; what was quick was possible
        self._spent[threads] = known + _WEIGHT * (spent - known) if slower else spent

    def _choose(self) -> int:
        if self._left:
            self._left -= 1
            return self._chosen
        best = min(self._spent, key=lambda threads: self._spent[threads])
        chosen = best
        for threads, spent in self._spent.items():
            self._waited[threads] += 1
            if threads != best and self._waited[threads] * self._spent[best] > _PROBE * spent:
                chosen = threads
        self._waited[chosen] = 0
        if chosen != self._chosen:
            self._chosen, self._left = chosen, _TRIAL - 1
        return chosen
