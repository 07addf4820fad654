"""Two processes that train together, over gloo: how much of the second core is gained.

Each process has a core; alone it has one, too, and the same batch. What is missing to twice as much is what gradients
cost on their way, and what the two take from one another's memory bandwidth.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psutil

from backend import events as ev
from backend.recipes import together

ROOT, REPEATS = Path(__file__).parents[2], 2
PARAMS = {
    "max_steps": 10, "logging_steps": 10, "max_rows": 96, "eval_rows": 0, "sample_prompts": 0, "save_steps": 1000,
    "per_device_train_batch_size": 4, "precision": "fp32",
}  # fmt: skip


def measure() -> dict[str, Any]:
    found = [(rate(1), rate(2)) for _ in range(REPEATS)]
    alone, both = (statistics.median(rates) for rates in zip(*found, strict=True))
    return {
        "what": "SFT with LoRA on the starter, two processes on two cores",
        "figure": both,
        "unit": "rows/s",
        "against": "twice one process on one core",
        "comparison": 2 * alone,
        "ratio": both / (2 * alone),
        "requirement": "≥ 0.75 ×",
        "passed": both >= 0.75 * 2 * alone,
    }


def rate(processes: int) -> float:
    """Rows a second of `processes` together, each with one core."""
    with tempfile.TemporaryDirectory() as name:
        params = Path(name, "params.json")
        params.write_text(json.dumps(PARAMS))
        done = subprocess.run(
            together.command("backend.recipes.sft", str(params), processes, gpu=False),
            cwd=ROOT,
            env=os.environ | {"ACCELERATE_USE_CPU": "true"},
            preexec_fn=lambda: psutil.Process().cpu_affinity(list(range(processes))),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    told = [one for line in done.stdout.splitlines() if isinstance(one := ev.parse(line), ev.Finished)]
    return float(told[-1].values["rows_per_second"])
