"""Two processes that train together learn what one learns; how they are started."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from backend import events as ev
from backend.recipes import together
from tests.tiny import tiny_model

ROOT = Path(__file__).resolve().parents[3]


def test_one_device_is_the_plain_recipe() -> None:
    assert together.command("backend.recipes.sft", "p.json", 1)[1:] == ["-u", "-m", "backend.recipes.sft", "p.json"]
    assert together.command("backend.recipes.ppo", "p.json", 4)[-2:] == ["backend.recipes.ppo", "p.json"]
    assert "accelerate.commands.launch" not in together.command("backend.recipes.merge", "p.json", 4)


def test_several_gpus_are_started_by_accelerate() -> None:
    command = together.command("backend.recipes.sft", "p.json", 4)
    assert command[3:5] == ["accelerate.commands.launch", "--multi_gpu"]
    assert command[command.index("--num_processes") + 1] == "4"
    assert command[-3:] == ["-m", "backend.recipes.sft", "p.json"]


def test_gpus_that_are_left_alone_do_not_count() -> None:
    wished = {"ATELIER_ALL_GPUS": "1"}
    assert [together.gpus(wished | {"CUDA_VISIBLE_DEVICES": one}) for one in ("", "-1")] == [0, 0]
    assert together.gpus({"CUDA_VISIBLE_DEVICES": "0,1"}) == 0  # nobody wished for it


def test_alone_everything_is_agreed_at_once() -> None:
    assert (together.first(), together.many(), together.agreed("save")) == (True, 1, "save")
    together.wait()


def trained(folder: Path, count: int, method: str = "sft", **params: Any) -> list[ev.Event]:
    folder.mkdir()
    (folder / "params.json").write_text(json.dumps(params))
    env = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    command = together.command(f"backend.recipes.{method}", str(folder / "params.json"), count, gpu=False)
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return [ev.parse(line) for line in done.stdout.splitlines()]


def figures(events: list[ev.Event], name: str) -> list[float]:
    return [one.values[name] for one in events if isinstance(one, ev.Measured) and name in one.values]


@pytest.mark.long
@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_two_processes_learn_what_one_learns(tmp_path: Path, method: str) -> None:
    """By gloo, on processors; each step sees the same rows, so the losses are the same but for rounding."""
    data = {"sft": "sample/instructions", "dpo": "sample/preferences"}[method]
    common = {
        "model": str(tiny_model(tmp_path / "model")), "dataset": data, "max_steps": 8, "max_rows": 64,
        "learning_rate": 0.01, "adapter": "lora", "lora_dropout": 0.0, "precision": "fp32", "logging_steps": 1,
        "eval_rows": 8, "save_steps": 4, "sample_prompts": 1,
    }  # fmt: skip
    one = trained(tmp_path / "one", 1, method, per_device_train_batch_size=4, **common)
    two = trained(tmp_path / "two", 2, method, per_device_train_batch_size=2, **common)
    alone, both = figures(one, "loss"), figures(two, "loss")
    assert len(alone) == len(both) == 8  # said once, not by each process
    assert both == pytest.approx(alone, rel=0.01)
    assert figures(two, "eval_loss") == pytest.approx(figures(one, "eval_loss"), rel=0.01)
    assert (tmp_path / "two" / "adapter" / "adapter_model.safetensors").is_file()
    assert [one for one in two if isinstance(one, ev.Finished)]
    checkpoints = sorted(path.name for path in (tmp_path / "two" / "checkpoints").glob("checkpoint-*"))
    assert checkpoints == ["checkpoint-4", "checkpoint-8"]
