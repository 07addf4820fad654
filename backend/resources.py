"""Memory, disk, cores and GPU of this machine over the last ten minutes; who holds what, and letting it go.

    lab.resources.look(owner)           now and then, and who holds memory
    lab.resources.free(owner, "engine") let go of what interactive models hold

Sampled every few seconds by the Lab's own tick; nothing is stored.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pynvml  # type: ignore[import-untyped]

from backend import machine
from backend.door import door
from backend.errors import BadInput
from backend.jobs import Run

if TYPE_CHECKING:
    from backend.lab import Lab

SPAN = 600.0  # seconds that are looked back on
EVERY = 5.0  # seconds between two samples


class Resources:
    """The last ten minutes, in memory."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._samples: deque[dict[str, float]] = deque(maxlen=int(SPAN / EVERY))
        self._next = 0.0
        self._lock = threading.Lock()
        psutil.cpu_percent()  # the first call has nothing to compare with

    def sample(self) -> None:
        """Take a sample when one is due. Cheap: a few reads of /proc."""
        with self._lock:
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + EVERY
            self._samples.append(measure(self.lab.settings.home))

    @door
    def look(self, owner: str) -> dict[str, Any]:
        """{now, past, cores, holders}: `now` and each of `past` (oldest first) are {at, memory, memory_total, disk,

        disk_total, cpu, gpu, gpu_memory, gpu_memory_total}: bytes, and shares from 0 to 1; figures of a GPU are there
        where one is. Holders are {key, what, bytes, mine}, largest first; strangers' runs count together.
        """
        self.sample()
        past = list(self._samples)
        return {
            "now": past[-1],
            "past": past,
            "cores": cores(),
            "holders": sorted(self._holders(owner), key=lambda one: -one["bytes"]),
        }

    @door
    def free(self, owner: str, key: str) -> str:
        """Let go of what `key` holds; says what was done. Raises BadInput, NotYours, NotFound.

        `engine` ends the process of interactive models, which starts again with the next question; a run's id stops
        that run with everything saved.
        """
        if key != "engine":
            return f"Run {key} is {self.lab.cancel(key, owner, save=True)}; it can be resumed."
        self.lab.hub.keeps(owner)
        if busy := self.lab.engine.busy:
            raise BadInput(
                f"Answers are being written: {busy}.",
                "Stop them first, or wait for their end.",
            )
        held = memory_of(self.lab.engine.pid)
        self.lab.rest()
        return f"{held / 1e9:.1f} GB are free again; the next question loads its model anew."

    def _holders(self, owner: str) -> list[dict[str, Any]]:
        found = [
            {"key": "", "what": "The server of this page", "bytes": own_memory(), "mine": False},
        ]
        if held := memory_of(self.lab.engine.pid):
            mine = self.lab.hub.is_keeper(owner)
            found.append({"key": "engine", "what": "Models that answer now", "bytes": held, "mine": mine})
        strangers = 0
        for run in self._living():
            held = memory_of(_keeper(run))
            if run.job.owner == owner:
                found.append({"key": run.id, "what": f"Run {run.id}: {run.job.recipe}", "bytes": held, "mine": True})
            else:
                strangers += held
        if strangers:
            found.append({"key": "", "what": "Other people's runs", "bytes": strangers, "mine": False})
        return found

    def _living(self) -> list[Run]:
        store = self.lab.store
        devices = {getattr(target, "device", "") for target in self.lab.targets.values()} - {""}
        taken = [name for device in devices for name, at_work in store.line(device) if at_work]
        return [store.run(name) for name in taken]


def measure(home: Path) -> dict[str, float]:
    """One sample: see `Resources.look`."""
    memory, total = psutil.virtual_memory(), machine.memory_total()
    disk = shutil.disk_usage(home if home.exists() else Path("/"))
    free = min([int(memory.available), *machine.group_free()])
    found = {
        "at": time.time(),
        "memory": float(max(0, total - min(free, total))),
        "memory_total": float(total),
        "disk": float(disk.total - disk.free),
        "disk_total": float(disk.total),
        "cpu": psutil.cpu_percent() / 100,
    }
    return found | gpu()


def gpu() -> dict[str, float]:
    """{gpu, gpu_memory, gpu_memory_total} of the first GPU, told by NVML; {} where there is none."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return {}
    try:
        first = pynvml.nvmlDeviceGetHandleByIndex(0)
        memory = pynvml.nvmlDeviceGetMemoryInfo(first)
        return {
            "gpu": pynvml.nvmlDeviceGetUtilizationRates(first).gpu / 100,
            "gpu_memory": float(memory.used),
            "gpu_memory_total": float(memory.total),
        }
    except pynvml.NVMLError:
        return {}
    finally:
        pynvml.nvmlShutdown()


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def own_memory() -> int:
    """Bytes that this process holds by itself."""
    return int(psutil.Process().memory_info().rss)


def memory_of(pid: int | None) -> int:
    """Bytes that a process and those below it hold; 0 for one that is gone."""
    total = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid) if pid else None
        for one in (process, *process.children(recursive=True)) if process else ():
            with contextlib.suppress(psutil.Error):
                total += one.memory_info().rss
    return total


def _keeper(run: Run) -> int | None:
    """The process that looks after it."""
    try:
        found = json.loads((run.folder / "process.json").read_text())["pid"]
    except (OSError, ValueError, KeyError):
        return None
    return int(found)
