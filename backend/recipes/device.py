"""Which device, precision and thread count to work with.

`find()` looks at the machine, `choose()` decides, purely.
"""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from backend.errors import BadInput

Precision = Literal["fp32", "bf16", "fp16"]
# What /proc/cpuinfo calls bf16 arithmetic on x86 and on Arm. A processor without it emulates bf16 and is slower for it.
_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


@dataclass(frozen=True)
class Machine:
    """What there is. `kind` is cpu, cuda or mps; `bf16` whether the device computes in it; `cores` that are ours."""

    kind: str = "cpu"
    name: str = ""
    bf16: bool = False
    cores: int = 1


@dataclass(frozen=True)
class Device:
    """What was chosen. Reported in the run's Started event."""

    device: str
    hardware: str
    precision: Precision  # of the arithmetic, and of frozen weights; an adapter's own are fp32
    autocast: bool  # whether the arithmetic is cast to `precision` too
    threads: int
    workers: int  # processes that load data besides this one
    pin_memory: bool
    gradient_checkpointing: bool
    weights: Precision  # of the model's own weights

    def info(self) -> dict[str, Any]:
        """For `Started.info`."""
        return asdict(self)


def choose(
    machine: Machine,
    precision: str = "auto",
    gradient_checkpointing: Literal["auto", "on", "off"] = "auto",
    full: bool = False,
) -> Device:
    """The best way to work on `machine` that respects what was asked for.

    Measured on two cores with bf16 arithmetic: bf16 weights train 7 % more rows a second than fp32 in half the memory,
    and worker processes for the data only take the cores away. A Mac's GPU is left at fp32, which always works.

    Weights that are trained themselves (`full`) are kept in fp32, since bf16 rounds a small step away; what is asked
    for is then the arithmetic's.

    Raises BadInput when the device can't compute in the `precision` asked for.
    """
    gpu = machine.kind == "cuda"
    best: Precision = "fp32"
    if machine.kind in ("cpu", "cuda") and machine.bf16:
        best = "bf16"
    elif gpu:
        best = "fp16"
    if precision == "fp16" and not gpu:
        raise BadInput(f"precision is fp16; on {machine.kind} use fp32 or auto.", "fp16 needs an NVIDIA GPU.")
    if precision == "bf16" and not machine.bf16 and machine.kind != "cpu":
        raise BadInput(
            f"precision is bf16; {machine.name or machine.kind} can't compute in it.", f"Use {best} or auto."
        )
    taken: Precision = best if precision == "auto" else precision  # type: ignore[assignment]
    if full and precision == "auto" and not gpu:
        taken = "fp32"
    return Device(
        device=machine.kind,
        hardware=machine.name,
        precision=taken,
        autocast=(gpu or full) and taken != "fp32",
        threads=machine.cores,
        workers=0,
        pin_memory=gpu,
        gradient_checkpointing=gradient_checkpointing == "on" or (gradient_checkpointing == "auto" and gpu),
        weights="fp32" if full else taken,
    )


def find() -> Machine:
    """This machine, the first GPU before the CPU. Imports torch."""
    import torch

    if torch.cuda.is_available():
        return Machine("cuda", torch.cuda.get_device_name(0), torch.cuda.is_bf16_supported(), cores())
    if torch.backends.mps.is_available():
        return Machine("mps", "Apple GPU", False, cores())
    return Machine("cpu", _processor(), computes_in_bf16(), cores())


def cores(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Cores that this process may use: its affinity, and no more than its container's quota."""
    try:
        ours = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        ours = os.cpu_count() or 1
    quota = _quota(root)
    return max(1, min(ours, quota) if quota else ours)


def _quota(root: Path) -> int:
    """Whole cores that the control group allows, of version 2 or 1; 0 when it sets no limit."""
    try:
        if (root / "cpu.max").exists():
            limit, period = (root / "cpu.max").read_text().split()
        else:
            limit = (root / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (root / "cpu" / "cpu.cfs_period_us").read_text()
        return max(1, int(limit) // int(period)) if int(limit) > 0 else 0
    except (OSError, ValueError):  # no control group, or "max"
        return 0


def computes_in_bf16() -> bool:
    """Whether this processor does."""
    return bool(_BF16_FLAGS & _flags())


def _flags() -> set[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return next((set(line.split()) for line in lines if line.startswith(("flags", "Features"))), set())


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
