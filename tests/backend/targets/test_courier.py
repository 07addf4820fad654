"""What travels with a run, what its owner is told while it waits, and how its end is read."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub._jobs_api import JobHardwareInfo

from backend import events as ev
from backend.jobs import Job
from backend.store import Store
from backend.targets import courier
from backend.targets.courier import Courier, how_it_ended, opens, packed, requirements
from tests.localjobs import HARDWARE


def test_files_that_params_name_travel_and_names_of_the_hub_do_not(tmp_path: Path) -> None:
    (tmp_path / "model" / "sub").mkdir(parents=True)
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "model" / "sub" / "weights").write_text("w")
    (tmp_path / "rows.jsonl").write_text("{}")
    params = {
        "model": str(tmp_path / "model"), "dataset": str(tmp_path / "rows.jsonl"), "reward": "ann/judge",
        "max_steps": 3,
        "models": [f"ann/base + {tmp_path}/model"], "start_from": "", "missing": "/no/such/place",
    }  # fmt: skip
    there, inputs = packed(params)
    assert there["model"] == "job/inputs/0/model"
    assert there["dataset"] == "job/inputs/1/rows.jsonl"
    assert (there["reward"], there["max_steps"], there["start_from"], there["missing"]) == (
        *("ann/judge", 3, "", "/no/such/place"),
    )
    assert sorted(inputs)[:3] == [
        *("job/inputs/0/model/config.json", "job/inputs/0/model/sub/weights", "job/inputs/1/rows.jsonl"),
    ]


def test_what_is_installed_there_is_what_is_installed_here() -> None:
    lines = requirements().splitlines()
    assert any(line.startswith("trl==") for line in lines)
    assert any(line.startswith("torch>=") for line in lines)
    assert not any(line.startswith(("gradio", "playwright")) for line in lines)


def test_weights_that_were_cut_off_do_not_open(tmp_path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    whole = len(header).to_bytes(8, "little") + header + b"12345678"
    (tmp_path / "a").write_bytes(whole)
    (tmp_path / "b").write_bytes(whole[:-1])
    (tmp_path / "c").write_bytes(b"not at all")
    assert [opens(tmp_path / name) for name in "abc"] == [True, False, False]


@pytest.mark.parametrize(("message", "code"), [("Job timeout", "jobs.timeout"), ("exit code: 1", "jobs.ended")])
def test_how_a_job_ended(message: str, code: str) -> None:
    assert how_it_ended("ERROR", message).code == code


def test_a_job_that_waits_long_is_said_once_with_what_else_can_be_done(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "PATIENCE", 0.0)
    monkeypatch.setattr(courier, "EVERY", 0.0)
    run = Store(home).add(Job("count", {}, "hf_jobs:t4-small:600", "ann"), {})
    one = Courier(run, "hf_token", "backend.recipes")
    one.state = {"job": "1", "namespace": "ann"}
    stages = iter(["SCHEDULING", "SCHEDULING", "SCHEDULING", "COMPLETED"])

    def inspect(**_: Any) -> Any:
        return SimpleNamespace(status=SimpleNamespace(stage=next(stages), message=None))

    hardware = [JobHardwareInfo(**one, unitCostMicroUSD=1, unitLabel="minute") for one in HARDWARE]
    one.api = SimpleNamespace(inspect_job=inspect, list_jobs_hardware=lambda: hardware)  # type: ignore[assignment]
    one.watch()
    (said,) = ev.read(run.log)[0]
    assert isinstance(said, ev.Logged)
    assert said.level == "warning"
    assert "No t4-small has been free" in said.text
    assert "As large: l4x4 ($3.80 an hour)." in said.text
    assert "other hardware may be free" in said.text
