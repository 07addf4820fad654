"""The script of a PPO run is plain Python that learns."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backend.recipes.params import check
from backend.recipes.ppo import PpoParams
from backend.recipes.script import code


def script(tiny: Path, folder: Path, **more: Any) -> str:
    rows = [{"prompt": [{"role": "user", "content": f"Say {i}"}], "reference": "ok"} for i in range(12)]
    (folder / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    values = {
        "model": str(tiny),
        "dataset": str(folder / "prompts.jsonl"),
        "reward": "short:1",
        "max_steps": 2,
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 1,
        "max_completion_length": 6,
        "max_length": 64,
        "num_virtual_tokens": 4,
        "eval_rows": 2,
        "num_mini_batches": 2,
        "precision": "fp32",
        "learning_rate": 0.01,
        "warmup_steps": 0,
    }
    return code("ppo", check(PpoParams, values | more))


def test_it_knows_no_atelier_and_leaves_no_blank(tiny: Path, tmp_path: Path) -> None:
    text = script(tiny, tmp_path, kl_target=3, kl_horizon=100, adapter="full", eval_rows=0)
    assert "backend" not in text
    assert "max(-0.2, min(0.2, kl.item() / 3 - 1)) * ROWS / 100" in text
    assert "base = copy.deepcopy(model)" in text
    names = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name) and node.id.isupper()}
    given = {
        node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }
    assert names - given == set()


@pytest.mark.parametrize(
    "more",
    [
        {"adapter": "lora"},
        pytest.param({"adapter": "full", "kl_target": 3.0}, marks=pytest.mark.long),
        pytest.param({"adapter": "prompt_tuning"}, marks=pytest.mark.long),
    ],
)
def test_it_runs(tiny: Path, tmp_path: Path, more: dict[str, Any]) -> None:
    (tmp_path / "train.py").write_text(script(tiny, tmp_path, **more))
    done = subprocess.run(
        [sys.executable, "train.py"],
        cwd=tmp_path,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    steps = [ast.literal_eval(line) for line in done.stdout.splitlines() if line.startswith("{'step'")]
    assert [one["step"] for one in steps] == [1, 2]
    if more["adapter"] != "prompt_tuning":
        assert abs(steps[0]["kl"]) < 1e-5
        assert steps[1]["kl"] != steps[0]["kl"]
    assert any((tmp_path / "adapter").glob("*.safetensors"))
