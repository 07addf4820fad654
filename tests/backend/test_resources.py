"""Memory, disk and cores of this machine, who holds them, and letting go."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from backend.engines.client import EngineProcess
from backend.errors import BadInput, NotYours
from backend.lab import Lab
from backend.resources import measure, memory_of
from tests.ui.scripted import lab as scripted

WHO = "visitor-me"


@pytest.fixture
def lab(home: Path) -> Lab:
    one = scripted(ATELIER_HOME=str(home))
    one.engine.pid, one.engine.busy = os.getpid(), 0  # type: ignore[misc]  # a process whose memory we know
    return one


def test_a_sample_is_of_this_machine(lab: Lab) -> None:
    now = lab.resources.look(WHO)["now"]
    assert 0 < now["memory"] < now["memory_total"] <= psutil.virtual_memory().total
    assert 0 < now["disk"] < now["disk_total"]
    assert 0 <= now["cpu"] <= 1


def test_samples_are_few_and_their_span_is_bounded(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(10):
        lab.resources.look(WHO)
    assert len(lab.resources.look(WHO)["past"]) == 1
    for _ in range(200):
        lab.resources._next = 0
        lab.resources.sample()
    assert len(lab.resources.look(WHO)["past"]) == 120


def test_holders_are_told_largest_first(lab: Lab) -> None:
    told = {one["key"]: one for one in lab.resources.look(WHO)["holders"]}
    assert told["engine"]["bytes"] >= psutil.Process().memory_info().rss * 0.5
    sizes = [one["bytes"] for one in lab.resources.look(WHO)["holders"]]
    assert sizes == sorted(sizes, reverse=True)
    assert memory_of(None) == memory_of(2**22 + 1) == 0


def test_the_engine_is_freed_by_who_looks_after_the_machine_and_not_amid_answers(lab: Lab, home: Path) -> None:
    scripted_one, held = lab.engine, EngineProcess(env={})
    lab.engine = held
    assert "are free again" in lab.resources.free(WHO, "engine")
    assert lab.engine is not held  # a new one, which starts with the next question
    assert lab.engine.pid is None
    lab.engine = scripted_one
    lab.engine.busy = 2  # type: ignore[misc]
    with pytest.raises(BadInput, match="being written: 2"):
        lab.resources.free(WHO, "engine")
    shared = scripted(ATELIER_HOME=str(home), GRADIO_SERVER_NAME="0.0.0.0")
    with pytest.raises(NotYours):
        shared.resources.free(WHO, "engine")


def test_measuring_works_before_the_data_folder_is_there(tmp_path: Path) -> None:
    assert measure(tmp_path / "none")["disk_total"] > 0
