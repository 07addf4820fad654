"""What is free on this machine, told without PyTorch."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import psutil

from backend.recipes import together
from backend.recipes.device import computes_in_bf16
from backend.recipes.preflight import Place

_ZEROGPU = 70_000_000_000  # bytes of the part of a GPU that ZeroGPU lends
_GROUP = Path("/sys/fs/cgroup")


def place(home: Path, device: str, limit: float = 0) -> Place:
    """Where a run on `device` (cpu, mps, cuda:0, zerogpu) would go; `limit` GB may be taken, 0: all."""
    disk = shutil.disk_usage(home).free
    if device == "zerogpu":
        return Place(_ZEROGPU, disk, 2, gpu=True)
    if device.startswith("cuda"):
        return Place(_gpu(), disk, 2, gpu=True, processes=max(1, together.gpus(os.environ)))
    free = [int(psutil.virtual_memory().available), *_group(_GROUP)]
    if limit:
        free.append(int(limit * 1e9))
    return Place(min(free), disk, 2 if device == "cpu" and computes_in_bf16() else 4)


def memory_total() -> int:
    """Bytes of memory of this machine or of its container, whichever is less."""
    total = psutil.virtual_memory().total
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            total = min(total, int((_GROUP / limit).read_text()))
    return int(total)


def group_free() -> list[int]:
    """[bytes] that the container leaves; [] where it sets no limit."""
    return _group(_GROUP)


def _group(folder: Path) -> list[int]:
    """What the container leaves, where it sets a limit."""
    try:
        most = (folder / "memory.max").read_text().strip()
        fields = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        used = int((folder / "memory.current").read_text()) - int(fields["inactive_file"])
    except (OSError, KeyError, ValueError):
        return []
    return [] if most == "max" else [max(0, int(most) - used)]


def _gpu() -> int:
    """Free bytes of the first GPU; 0 where its driver doesn't tell."""
    command = ["nvidia-smi", "--query-gpu=memory.free", "--format=csv,noheader,nounits", "-i", "0"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=10).stdout
        return int(told.split()[0]) * 1_048_576
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return 0
