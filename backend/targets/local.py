"""This machine: one line per device, first come first served, each run in a detached process (see keeper.py)."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from backend import events as ev
from backend.jobs import Run
from backend.store import Store, room, write

ROOT = Path(__file__).resolve().parents[2]
_keepers: list[subprocess.Popen[bytes]] = []  # started here and not yet reaped; they outlive this process


class Local:
    """Runs on `device` of this machine, one at a time.

    `env` is what run processes inherit (secrets included); `recipes` is the package whose modules are run.
    """

    name = "local"

    def __init__(
        self,
        home: Path,
        device: str | None = None,
        env: Mapping[str, str] | None = None,
        recipes: str = "backend.recipes",
    ) -> None:
        self.store = Store(home)
        self.recipes = recipes
        self.device = device or find_device()
        self.env = dict(os.environ if env is None else env)
        # What of its owner's secrets a run gets; only the server knows, so runs with grants are begun by it alone.
        self.granted: Callable[[Run], Mapping[str, str]] | None = None

    def start(self, run: Run) -> None:
        self.store.enqueue(run, self.device)
        self.tend()

    def alive(self, run: Run) -> bool:
        return alive(run)

    def ahead(self, run: Run) -> int | None:
        line = self.store.line(self.device)
        places = [name for name, _ in line]
        if run.id not in places:
            return None
        place = places.index(run.id)
        return None if line[place][1] and (run.folder / "process.json").exists() else place

    def cancel(self, run: Run, save: bool) -> None:
        with self.store.locked(f"device-{self.device.replace(':', '-')}"):
            with room(self.store.home) if save else contextlib.suppress(OSError):  # cancelling needs no disk
                run.stop_file.write_text("save" if save else "cancel")
            if not alive(run):
                if self.store.leave(run.id):  # it only waited
                    _append(run, ev.Cancelled(reason="cancelled before it began"))
                return
        if not save:
            with contextlib.suppress(ProcessLookupError):
                os.kill(_process(run)["pid"], signal.SIGTERM)

    def tend(self) -> None:
        """Clear what died, start what waits. The lock makes it safe from several processes at once."""
        _keepers[:] = [child for child in _keepers if child.poll() is None]
        if not self.store.line(self.device):
            return
        with self.store.locked(f"device-{self.device.replace(':', '-')}"):
            for run_id, taken in self.store.line(self.device):
                run = self.store.run(run_id)
                if taken and alive(run):
                    return
                if taken and (run.folder / "process.json").exists():
                    self.store.leave(run_id)  # it ended, or was killed together with its keeper
                    continue
                if run.grants and self.granted is None:
                    return
                self.store.take(run_id)
                self._spawn(run)
                return

    def _spawn(self, run: Run) -> None:
        argv = [sys.executable, "-m", "backend.targets.keeper", str(self.store.home), run.id, self.device, self.recipes]
        secrets = self.granted(run) if run.grants and self.granted else {}
        for name in set(run.grants) - secrets.keys():
            _append(run, ev.Logged(level="warning", text=f"The secret {name} is gone; the run starts without it."))
        with (run.folder / "keeper.log").open("ab") as log:
            child = subprocess.Popen(
                argv,
                cwd=ROOT,
                env={**self.env, **secrets},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        _keepers.append(child)
        note_process(run, child.pid)

    def describe(self) -> str:
        cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
        name = "" if self.device == "cpu" else f" + {self.device}"
        return f"This machine: {cores} cores, {_memory():.0f} GB{name}"


def find_device() -> str:
    """`cuda:0` where a NVIDIA driver answers, `mps` on Apple silicon, else `cpu`; told without torch."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0") not in ("", "-1") and shutil.which("nvidia-smi"):
        answer = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20)
        if "GPU 0" in answer.stdout:
            return "cuda:0"
    return "mps" if sys.platform == "darwin" and os.uname().machine == "arm64" else "cpu"


def alive(run: Run) -> bool:
    """Whether the process that was noted for the run still is that process."""
    process = _process(run)
    return bool(process) and process["started"] is not None and _started(process["pid"]) == process["started"]


def note_process(run: Run, pid: int | None = None) -> None:
    """Write down who works on the run. Both the starter and the started do it, so a crash between can't lose it."""
    pid = pid or os.getpid()
    write(run.folder / "process.json", {"pid": pid, "started": _started(pid)})


def _process(run: Run) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((run.folder / "process.json").read_text())
    except FileNotFoundError:
        return {}
    return found


def _started(pid: int) -> str | None:
    """What tells this process from a later one with the same pid: boot and clock ticks; None for the dead."""
    try:
        if sys.platform == "linux":
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return None if fields[0] in "ZX" else f"{_boot()}:{fields[19]}"
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.2f}"
    except (FileNotFoundError, ProcessLookupError, psutil.NoSuchProcess):
        return None


@cache
def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _memory() -> float:
    """GB of memory of this machine or of its container, whichever is less."""
    total = psutil.virtual_memory().total
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            total = min(total, int(Path(limit).read_text()))
    return total / 2**30


def _append(run: Run, event: ev.Event) -> None:
    with run.log.open("a") as file:
        file.write(ev.encode(event) + "\n")
