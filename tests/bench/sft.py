"""Training: rows per second beside a plain TRL script with the same settings, and what the defaults teach.

The plain script is the one that Code shows for the run. The two take turns; medians are compared. What is taught is
measured as exact match on the 208 held-out rows of `sample/evaluation`, greedy, by plain `generate`.
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from backend import events as ev
from backend.recipes import METHODS, script
from backend.recipes.params import check
from backend.starter import MODEL_ID, locate

ROOT = Path(__file__).resolve().parents[2]
STEPS = 12
REPEATS = 3
MOST_SECONDS = 300
LEAST_POINTS = 30


def measure() -> list[dict[str, Any]]:
    ours, plain = [], []
    for _ in range(REPEATS):
        plain.append(plain_rows_per_second(max_steps=STEPS))
        finished, _, _ = recipe(max_steps=STEPS)
        ours.append(STEPS * 8 / finished["seconds"])
    speed = statistics.median(ours) / statistics.median(plain)
    with tempfile.TemporaryDirectory() as folder:
        _, seconds, adapter = recipe(Path(folder))
        base, n = exact_match()
        tuned, _ = exact_match(adapter)
    return [
        {
            "what": f"SFT, {STEPS} steps with samples and checkpoint",
            "figure": statistics.median(ours),
            "unit": "rows/s",
            "against": "plain TRL",
            "comparison": statistics.median(plain),
            "ratio": speed,
            "requirement": "≥ 0.95 ×",
            "passed": speed >= 0.95,
        },
        {
            "what": "SFT with the defaults, from start to adapter",
            "figure": seconds,
            "unit": "s",
            "requirement": f"≤ {MOST_SECONDS} s",
            "passed": seconds <= MOST_SECONDS,
        },
        {
            "what": f"exact match after it (n = {n})",
            "figure": tuned,
            "unit": "%",
            "against": "base",
            "comparison": base,
            "requirement": f"+ {LEAST_POINTS} points",
            "passed": tuned - base >= LEAST_POINTS,
        },
    ]


def recipe(folder: Path | None = None, **params: Any) -> tuple[dict[str, Any], float, Path]:
    """Run `sft` as the local target does. Returns the closing figures, the seconds it took and the adapter."""
    folder = folder or Path(tempfile.mkdtemp())
    (folder / "params.json").write_text(json.dumps(params))
    start = time.perf_counter()
    command = [sys.executable, "-m", "backend.recipes.sft", str(folder / "params.json")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    last = [event for line in done.stdout.splitlines() if isinstance(event := ev.parse(line), ev.Finished)]
    if not last:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return last[0].values, seconds, folder / "adapter"


def plain_rows_per_second(**params: Any) -> float:
    """What the script of the Code view reaches, by the trainer's own clock."""
    text = script.code(
        "sft", check(METHODS["sft"].params, params), model=locate(MODEL_ID), dataset=locate("sample/instructions")
    )
    text += "\nhistory = trainer.state.log_history\n"
    text += 'print("SECONDS", next(row["train_runtime"] for row in history if "train_runtime" in row))\n'
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "train.py").write_text(text)
        done = subprocess.run([sys.executable, "train.py"], cwd=folder, capture_output=True, text=True)
    found = [line for line in done.stdout.splitlines() if line.startswith("SECONDS ")]
    if not found:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return STEPS * 8 / float(found[0].split()[1])


def exact_match(adapter: Path | None = None) -> tuple[float, int]:
    """Per cent of the held-out rows that are answered to the letter, and how many rows there are."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rows = [json.loads(line) for line in Path(locate("sample/evaluation")).read_text().splitlines()]
    place = locate(MODEL_ID)
    tokenizer = AutoTokenizer.from_pretrained(place, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.bfloat16)
    if adapter:
        model = PeftModel.from_pretrained(model, str(adapter))
    right = 0
    for at in range(0, len(rows), 26):
        part = rows[at : at + 26]
        inputs = tokenizer.apply_chat_template(
            [row["prompt"] for row in part],
            add_generation_prompt=True,
            padding=True,
            return_tensors="pt",
            return_dict=True,
        )
        with torch.inference_mode():
            output = model.generate(**inputs, max_new_tokens=24, do_sample=False)
        answers = tokenizer.batch_decode(output[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
        right += sum(a.strip() == row["completion"][0]["content"] for a, row in zip(answers, part, strict=True))
    del model
    gc.collect()
    return 100 * right / len(rows), len(rows)
