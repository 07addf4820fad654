from __future__ import annotations

import os
from pathlib import Path

import pytest

from backend.errors import BadInput
from backend.recipes.device import Machine, choose, cores, find

CPU, OLD = Machine("cpu", "EPYC", True, 2), Machine("cpu", "old", False, 4)
L4, T4, MAC = Machine("cuda", "L4", True, 8), Machine("cuda", "T4", False, 4), Machine("mps", "Apple GPU", False, 8)


@pytest.mark.parametrize(
    ("machine", "asked", "precision", "autocast", "checkpointing"),
    [
        (CPU, "auto", "bf16", False, False),
        (OLD, "auto", "fp32", False, False),
        (OLD, "bf16", "bf16", False, False),
        (CPU, "fp32", "fp32", False, False),
        (L4, "auto", "bf16", True, True),
        (L4, "fp32", "fp32", False, True),
        (T4, "auto", "fp16", True, True),
        (MAC, "auto", "fp32", False, False),
    ],
)
def test_precision(machine: Machine, asked: str, precision: str, autocast: bool, checkpointing: bool) -> None:
    chosen = choose(machine, asked)
    assert (chosen.precision, chosen.autocast, chosen.gradient_checkpointing) == (precision, autocast, checkpointing)
    assert (chosen.device, chosen.hardware, chosen.threads) == (machine.kind, machine.name, machine.cores)


@pytest.mark.parametrize(("machine", "asked"), [(CPU, "fp16"), (MAC, "fp16"), (MAC, "bf16"), (T4, "bf16")])
def test_what_the_device_cannot_do_is_refused(machine: Machine, asked: str) -> None:
    with pytest.raises(BadInput, match=f"precision is {asked}"):
        choose(machine, asked)


def test_gradient_checkpointing_as_asked() -> None:
    assert choose(CPU, gradient_checkpointing="on").gradient_checkpointing
    assert not choose(L4, gradient_checkpointing="off").gradient_checkpointing


def test_only_a_gpu_pins_memory() -> None:
    assert [choose(machine).pin_memory for machine in (CPU, MAC, L4)] == [False, False, True]


def test_it_tells_plain_values() -> None:
    assert choose(CPU).info()["hardware"] == "EPYC"


@pytest.mark.parametrize(("text", "quota"), [("max 100000", None), ("150000 100000", 1), ("50000 100000", 1)])
def test_cores_respect_the_container(tmp_path: Path, text: str, quota: int | None) -> None:
    (tmp_path / "cpu.max").write_text(text)
    ours = len(os.sched_getaffinity(0))
    assert cores(tmp_path) == (ours if quota is None else min(ours, quota))


def test_cores_respect_an_older_container(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("100000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cores(tmp_path) == 1


def test_cores_respect_the_affinity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3})
    assert cores(tmp_path) == 1


def test_this_machine_is_found() -> None:
    machine = find()
    assert machine.kind in ("cpu", "cuda", "mps")
    assert machine.name
    assert machine.cores >= 1
