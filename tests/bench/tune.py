"""Training beside plain TRL: the same settings, its own defaults, DPO; and how soon a run begins and ends.

The plain scripts are the ones that Code shows. Each pair takes turns; medians are compared.
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
from pathlib import Path
from typing import Any

from backend import events as ev
from backend.recipes import METHODS, script
from backend.recipes.params import check
from backend.starter import MODEL_ID, SAMPLES, locate

ROOT = Path(__file__).resolve().parents[2]
STEPS = 12
REPEATS = 3
QUICK: dict[str, Any] = {"max_steps": STEPS, "eval_rows": 0, "sample_prompts": 0, "logging_steps": STEPS}
# What makes a script TRL's own defaults: these lines of ours are not in it, and weights are loaded as TRL loads them.
OURS = ("bf16=", "activation_checkpointing=", "train_sampling_strategy=")


def measure() -> list[dict[str, Any]]:
    return [same_settings(), *own_defaults(), preference(), begin(), stop()]


def same_settings(repeats: int = REPEATS) -> dict[str, Any]:
    ours, plain = in_turns(lambda: rate("sft", **QUICK), lambda: plain_rate("sft", **QUICK), repeats)
    return row(f"SFT with LoRA, {STEPS} steps", ours, "plain TRL, the same settings", plain, 1.0)


def own_defaults(repeats: int = REPEATS) -> list[dict[str, Any]]:
    """The same rows, rate and adapter; what differs is what we choose for a CPU. The loss is on the held-out rows."""
    asked = {"max_steps": 2 * STEPS, "eval_rows": 64, "sample_prompts": 0, "save_steps": 2 * STEPS}
    losses: dict[str, list[float]] = {"ours": [], "plain": []}

    def mine() -> float:
        values, _ = run("sft", **asked)
        losses["ours"].append(values["eval_loss"])
        return float(values["rows_per_second"])

    def theirs() -> float:
        text = plain_text("sft", **asked)
        text = "\n".join(line for line in text.splitlines() if not line.strip().startswith(OURS))
        text = text.replace(", dtype=torch.bfloat16", "").replace(", dtype=torch.float32", "")
        seconds, said = execute(text)
        losses["plain"].append(float(re.findall(r"'eval_loss': '?([\d.]+)", said)[-1]))
        return 2 * STEPS * 8 / seconds

    ours, plain = in_turns(mine, theirs, repeats)
    mine_loss, their_loss = (statistics.median(losses[name]) for name in ("ours", "plain"))
    worse = mine_loss / their_loss
    return [
        row("SFT with our defaults for a CPU", ours, "TRL's own defaults", plain, 1.5),
        {
            "what": f"loss on held-out rows after those {2 * STEPS} steps",
            "figure": mine_loss,
            "unit": "",
            "against": "TRL's own defaults",
            "comparison": their_loss,
            "ratio": worse,
            "requirement": "≤ 1.03 ×",
            "passed": worse <= 1.03,
        },
    ]


def preference(repeats: int = REPEATS) -> dict[str, Any]:
    quick = QUICK | {"max_steps": 6, "logging_steps": 6}
    ours, plain = in_turns(lambda: rate("dpo", **quick), lambda: plain_rate("dpo", **quick), repeats)
    return row("DPO with LoRA, 6 steps", ours, "plain TRL, the same settings", plain, 1.0)


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
    return ended.values, first


def rate(recipe: str, **params: Any) -> float:
    """Rows a second over the whole of training, by the trainer's own clock."""
    values, _ = run(recipe, **params)
    return float(params["max_steps"] * 8 / values["seconds"])


def plain_rate(recipe: str, **params: Any) -> float:
    seconds, _ = execute(plain_text(recipe, **params))
    return float(params["max_steps"] * 8 / seconds)


def plain_text(recipe: str, **params: Any) -> str:
    checked = check(METHODS[recipe].params, params)
    return script.code(recipe, checked, model=locate(MODEL_ID), dataset=str(SAMPLES[checked.dataset]))


def execute(text: str) -> tuple[float, str]:
    """(seconds of training by the trainer's own clock, what was printed) of a plain script."""
    text += '\nprint("SECONDS", [r["train_runtime"] for r in trainer.state.log_history if "train_runtime" in r][-1])\n'
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "train.py").write_text(text)
        done = subprocess.run([sys.executable, "train.py"], cwd=folder, capture_output=True, text=True)
    found = re.findall(r"^SECONDS ([\d.]+)", done.stdout, re.MULTILINE)
    if not found:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-2000:])
    return float(found[0]), done.stdout
