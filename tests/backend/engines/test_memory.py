from __future__ import annotations

import resource

import pytest

from backend.engines.memory import free_memory, out_of_memory


def test_free_memory_respects_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    import psutil

    taken = psutil.Process().memory_info().vms
    monkeypatch.setattr(resource, "getrlimit", lambda which: (taken + 1_000_000, -1))
    assert 0 <= free_memory() <= 100_000_000
    monkeypatch.setattr(resource, "getrlimit", lambda which: (resource.RLIM_INFINITY, -1))
    assert free_memory() > 100_000_000


def test_how_torch_says_that_memory_ran_out() -> None:
    import torch

    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**16)
    assert out_of_memory(caught.value)
    assert out_of_memory(MemoryError())
    assert not out_of_memory(ValueError("a shape"))
