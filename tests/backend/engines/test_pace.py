from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from backend.engines.pace import Pace


def model(dtype: Any, device: str = "cpu") -> Any:
    return SimpleNamespace(dtype=dtype, device=SimpleNamespace(type=device))


def steps(pace: Pace, count: int, quick: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The chosen thread numbers where `quick` threads are the best, and waking some costs more."""
    import torch

    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    chosen: list[int] = []
    for _ in range(count):
        with pace.step():
            woken = bool(chosen) and chosen[-1] < torch.get_num_threads()
            chosen.append(torch.get_num_threads())
            now[0] += (0.01 if chosen[-1] == quick else 0.03) + 0.05 * woken
    return chosen


@pytest.mark.parametrize("quick", [1, 2, 4])
def test_the_quickest_number_is_found_and_found_again(quick: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        pace = Pace(model(torch.bfloat16), 4)
        assert steps(pace, 100, quick, monkeypatch).count(quick) >= 84
        other = 1 if quick != 1 else 4
        assert steps(pace, 800, other, monkeypatch)[-100:].count(other) >= 90
        assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)


def test_one_slow_step_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    before = torch.get_num_threads()
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    try:
        pace, chosen = Pace(model(torch.bfloat16), 2), []
        for number in range(120):
            with pace.step():
                chosen.append(torch.get_num_threads())
                now[0] += 0.05 if number % 20 == 19 else {2: 0.0056, 1: 0.0078}[chosen[-1]]
        assert chosen[20:].count(1) <= 8
    finally:
        torch.set_num_threads(before)


def test_only_16_bits_on_the_cpu_change_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    now = torch.get_num_threads()
    for one in (model(torch.float32), model(torch.bfloat16, "cuda")):
        assert steps(Pace(one, 8), 20, 1, monkeypatch) == [now] * 20
