"""Memory for weights: how much is free, and the ways in which it is said that it ran out."""

from __future__ import annotations

import resource
from pathlib import Path

SPARE = 300_000_000  # bytes that loading and a first answer need beside the weights
_NO_MEMORY = (
    "can't allocate memory",
    "bad_alloc",
    "out of memory",
    "Cannot allocate memory",
    "failed to map segment",
)


def free_memory() -> int:
    """Bytes that new weights may take: on the GPU if there is one, else within machine, container and own limit."""
    import psutil  # noqa: PLC0415 - not needed by those who only import this file
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0])
    free = [int(psutil.virtual_memory().available)]
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        free.append(limit - int(psutil.Process().memory_info().vms))
    group = Path("/sys/fs/cgroup")
    if (group / "memory.max").exists() and (most := (group / "memory.max").read_text().strip()) != "max":
        fields = dict(row.split() for row in (group / "memory.stat").read_text().splitlines())
        used = int((group / "memory.current").read_text()) - int(fields["inactive_file"])
        free.append(int(most) - used)
    return max(0, min(free))


def all_memory() -> int:
    """Bytes of the GPU if there is one, else of machine or container: the same whatever is free now."""
    import psutil  # noqa: PLC0415 - as above
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    most = Path("/sys/fs/cgroup/memory.max")
    limit = most.read_text().strip() if most.exists() else "max"
    total = int(psutil.virtual_memory().total)
    return total if limit == "max" else min(total, int(limit))


def out_of_memory(error: BaseException) -> bool:
    """Whether `error` is one of the ways in which Python, torch and the loaders say so."""
    said = str(error)
    return isinstance(error, MemoryError) or any(phrase in said for phrase in _NO_MEMORY)


def in_words(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
