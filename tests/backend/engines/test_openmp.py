"""The threads that a thread's large operations leave behind are ended."""

from __future__ import annotations

import sys
import threading
import time

import psutil
import pytest
import torch

from backend.engines import openmp


@pytest.mark.skipif(sys.platform != "linux", reason="libgomp comes with PyTorch for Linux")
def test_its_kept_threads_end_and_the_next_operation_makes_new_ones() -> None:
    counts: list[int] = []

    def compute() -> None:
        torch.randn(2_000_000).exp()
        counts.append(psutil.Process().num_threads())
        openmp.release()
        settle(counts[0])
        counts.append(psutil.Process().num_threads())

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        thread = threading.Thread(target=compute)
        thread.start()
        thread.join()
    finally:
        torch.set_num_threads(before)
    assert counts[1] == counts[0] - 1


def settle(count: int) -> None:
    """Wait until a thread has ended; joined threads of OpenMP end a moment later."""
    until = time.monotonic() + 5
    while psutil.Process().num_threads() >= count and time.monotonic() < until:
        time.sleep(0.01)
