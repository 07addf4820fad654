from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from backend import machine


def test_what_is_free_here(tmp_path: Path) -> None:
    found = machine.place(tmp_path, "cpu")
    assert 0 < found.memory < 10**13
    assert found.disk > 0
    assert found.number in (2, 4)
    assert machine.place(tmp_path, "cpu", limit=0.5).memory <= 500_000_000


def test_a_container_leaves_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("700")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 200\n")
    monkeypatch.setattr(machine, "_GROUP", tmp_path)
    assert machine.place(tmp_path, "cpu").memory == 500
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.place(tmp_path, "cpu").memory > 500


def test_a_gpu_is_asked_for_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.CompletedProcess([], 0, stdout="22000\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    found = machine.place(tmp_path, "cuda:0")
    assert (found.memory, found.gpu) == (22000 * 1_048_576, True)
