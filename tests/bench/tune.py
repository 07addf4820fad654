"""Training beside plain TRL: the same settings, its own defaults, DPO; and how soon a run begins and ends.

The plain scripts are the ones that Code shows. What is compared takes turns; medians are compared. About ten minutes.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend import events as ev
from backend.recipes import METHODS, script
from backend.recipes.params import check
from backend.starter import MODEL_ID, SAMPLES, locate

ROOT = Path(__file__).resolve().parents[2]
BATCH = 8
STEPS = 20
ROUNDS = 2
# What our script says where TRL has a default of its own. Each step puts back another of these, until the script is
# ours; the last step is ours itself, which projects only learned tokens into the vocabulary.
LADDER = (
    ("TRL's own defaults", ""),
    ("nothing computed twice to save memory", "activation_checkpointing="),
    ("bf16 weights instead of autocast", "bf16="),
    ("rows by length", "train_sampling_strategy="),
)
HELD = 64
# All rows once, so that every order of them is as much work, and teaches the same.
TEACH: dict[str, Any] = {"max_rows": STEPS * BATCH + HELD, "eval_rows": HELD, "sample_prompts": 0, "save_steps": 1000}
QUICK: dict[str, Any] = {"eval_rows": 0, "sample_prompts": 0}
TOLD = """
print("SECONDS", [row["train_runtime"] for row in trainer.state.log_history if "train_runtime" in row][-1])
print("PEAK", open("/proc/self/status").read().partition("VmHWM:")[2].split()[0])
"""


def measure() -> list[dict[str, Any]]:
    return [*tuning(), *preference(), begin(), stop()]


def tuning(rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """The same rows, rate and adapter; what differs is what we choose for a CPU. The loss is on the held-out rows."""
    text = plain_text("sft", **TEACH)
    scripts = [without(text, *(line for _, line in LADDER[place + 1 :])) for place in range(len(LADDER))]
    speeds: list[list[float]] = [[] for _ in range(len(LADDER) + 1)]
    losses: list[list[float]] = [[] for _ in speeds]
    for round in range(rounds):
        for place, one in enumerate(scripts):
            if round and 0 < place < len(scripts) - 1:
                continue  # what comes between is told, not judged
            found = execute(one)
            speeds[place].append(STEPS * BATCH / found.seconds)
            losses[place].append(found.eval_loss)
        values, _ = run("sft", **TEACH)
        speeds[-1].append(float(values["rows_per_second"]))
        losses[-1].append(float(values["eval_loss"]))
    speed, loss = [list(map(statistics.median, some)) for some in (speeds, losses)]
    parts = [
        {
            "what": f"SFT: {name}",
            "figure": speed[place],
            "unit": "rows/s",
            "against": LADDER[0][0],
            "comparison": speed[0],
            "ratio": speed[place] / speed[0],
            "requirement": f"told; held-out loss {loss[place]:.3f}",
            "passed": True,
        }
        for place, (name, _) in enumerate(LADDER)
        if place
    ]
    worse = loss[-1] / loss[0]
    return [
        row(f"SFT with LoRA, {STEPS} steps", speed[-1], "plain TRL, the same settings", speed[-2], 1.0),
        *parts,
        row("SFT with our defaults for a CPU", speed[-1], LADDER[0][0], speed[0], 1.5),
        {
            "what": f"loss on held-out rows after those {STEPS} steps",
            "figure": loss[-1],
            "unit": "",
            "against": LADDER[0][0],
            "comparison": loss[0],
            "ratio": worse,
            "requirement": "≤ 1.03 ×",
            "passed": worse <= 1.03,
        },
    ]


def preference(rounds: int = 1) -> list[dict[str, Any]]:
    """DPO's speed with LoRA; its memory where all weights are trained, for which TRL holds a second model."""
    quick = QUICK | {"max_steps": 6, "logging_steps": 6}
    text = plain_text("dpo", **quick)
    ours, plain = in_turns(lambda: rate("dpo", **quick), lambda: 6 * BATCH / execute(text).seconds, rounds)
    whole = QUICK | {"max_steps": 2, "logging_steps": 1, "max_rows": 16, "adapter": "full"}
    held = execute(without(plain_text("dpo", **whole), "precompute_ref_log_probs=")).peak
    taken = float(run("dpo", **whole | {"save_steps": 1000})[0]["memory_gb"])
    return [
        row("DPO with LoRA, 6 steps", ours, "plain TRL, the same settings", plain, 1.0),
        {
            "what": "DPO of all weights, memory at its peak",
            "figure": taken,
            "unit": "GB",
            "against": "TRL with its reference model",
            "comparison": held,
            "ratio": taken / held,
            "requirement": "< 1 ×",
            "passed": taken < held,
        },
    ]


def begin() -> dict[str, Any]:
    """From the start of the process to the end of the first step, on the starter."""
    _, seconds = run("sft", **QUICK | {"max_steps": 1})
    return {
        "what": "SFT on the starter, start of the process to first step",
        "figure": seconds,
        "unit": "s",
        "requirement": "≤ 15 s",
        "passed": seconds <= 15,
    }


def stop() -> dict[str, Any]:
    """From the wish to stop and save to the end of the process, beyond the step that was being made."""
    with tempfile.TemporaryDirectory() as name:
        folder, asked, longest = Path(name), 0.0, 0.0
        (folder / "params.json").write_text(json.dumps({"eval_rows": 0, "sample_prompts": 0}))
        with start("sft", folder) as child:
            assert child.stdout is not None
            last = 0.0
            for line in child.stdout:
                event = ev.parse(line)
                if isinstance(event, ev.Measured) and not asked:
                    longest = max(longest, event.at - last) if last else longest
                    last = event.at
                    if event.step == 4:
                        (folder / "stop").write_text("save")
                        asked = time.time()
        seconds = time.time() - asked - longest
    return {
        "what": "SFT, Stop-and-save to freed memory, beyond one step",
        "figure": seconds,
        "unit": "s",
        "requirement": "≤ 5 s",
        "passed": seconds <= 5,
    }


def in_turns(ours: Callable[[], float], plain: Callable[[], float], repeats: int) -> tuple[float, float]:
    found = [(plain(), ours()) for _ in range(repeats)]
    return statistics.median(mine for _, mine in found), statistics.median(theirs for theirs, _ in found)


def row(what: str, ours: float, against: str, plain: float, least: float) -> dict[str, Any]:
    return {
        "what": what,
        "figure": ours,
        "unit": "rows/s",
        "against": against,
        "comparison": plain,
        "ratio": ours / plain,
        "requirement": f"≥ {least} ×",
        "passed": ours / plain >= least,
    }


def start(recipe: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", METHODS[recipe].module, str(folder / "params.json")]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def run(recipe: str, **params: Any) -> tuple[dict[str, Any], float]:
    """The closing figures of a run as the local target makes it, and the seconds to the end of its first step."""
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "params.json").write_text(json.dumps(params))
        begun, first, events = time.perf_counter(), 0.0, []
        with start(recipe, Path(name)) as child:
            assert child.stdout is not None
            for line in child.stdout:
                events.append(ev.parse(line))
                if isinstance(events[-1], ev.Progressed) and events[-1].done and not first:
                    first = time.perf_counter() - begun
    ended = events[-1]
    if not isinstance(ended, ev.Finished):
        raise RuntimeError(str(ended))
    memory = [
        event.values["memory_gb"] for event in events if isinstance(event, ev.Measured) and "memory_gb" in event.values
    ]
    return ended.values | {"memory_gb": max(memory, default=0.0)}, first


def rate(recipe: str, **params: Any) -> float:
    """Rows a second over the whole of training, by the trainer's own clock."""
    values, _ = run(recipe, **params)
    return float(params["max_steps"] * BATCH / values["seconds"])


def plain_text(recipe: str, **params: Any) -> str:
    checked = check(METHODS[recipe].params, params)
    return script.code(recipe, checked, model=locate(MODEL_ID), dataset=str(SAMPLES[checked.dataset]))


def without(text: str, *starts: str) -> str:
    """A script in which TRL's defaults take the place of the lines that begin so.

    Its default of bf16 stops without a GPU, and says that `use_cpu` helps.
    """
    text = "\n".join(line for line in text.splitlines() if not (starts and line.strip().startswith(starts)))
    if "bf16=" in starts:
        text = text.replace(", dtype=torch.bfloat16", "").replace("save_strategy=", "use_cpu=True, save_strategy=")
    return text


@dataclass(frozen=True)
class Plain:
    """What a plain script told: seconds of training by the trainer's own clock, its held-out loss, GB at its peak."""

    seconds: float
    eval_loss: float
    peak: float


def execute(text: str) -> Plain:
    text += TOLD
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "train.py").write_text(text)
        done = subprocess.run([sys.executable, "train.py"], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    losses = re.findall(r"'eval_loss': '?([\d.]+)", done.stdout)
    seconds, peak = (re.findall(rf"^{name} ([\d.]+)", done.stdout, re.MULTILINE)[-1] for name in ("SECONDS", "PEAK"))
    return Plain(float(seconds), float(losses[-1]) if losses else 0.0, int(peak) * 1024 / 1e9)
