"""How many threads make a step of one token quickest."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_PROBE = 16  # steps between two looks at a number that is not the best now
_WEIGHT = 0.3  # of the newest measurement


class Pace:
    """Chooses, step by step, between all threads and fewer, by how long steps took.

    The small matrices of one token gain little from company and lose much when something else computes here, such as
    a training run. 16-bit steps on the CPU only: their bits were found not to depend on the number of threads.
    """

    def __init__(self, model: Any, threads: int) -> None:
        self._all = threads
        fewer = threads if model.device.type == "cpu" and model.dtype.itemsize == 2 else 0
        self._spent: dict[int, float] = {}  # seconds of a step by number of threads; 0 is not measured yet
        while fewer:
            self._spent[fewer] = 0.0
            fewer //= 2
        self._steps = 0

    @contextmanager
    def step(self) -> Iterator[None]:
        """Around one step of one token."""
        import torch

        if len(self._spent) < 2:
            yield
            return
        self._steps += 1
        threads = min(self._spent, key=lambda number: self._spent[number])
        if self._steps % _PROBE == 0:
            threads = list(self._spent)[self._steps // _PROBE % len(self._spent)]
        torch.set_num_threads(threads)
        began = time.perf_counter()
        try:
            yield
        finally:
            spent, before = time.perf_counter() - began, self._spent[threads]
            self._spent[threads] = before + _WEIGHT * (spent - before) if before else spent
            torch.set_num_threads(self._all)
