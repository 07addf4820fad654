"""PPO beside TRL's RLOO and the last PPO that TRL had, on a reward that can be counted: more vowels.

A byte-level llama of 0.2 million weights is pre-trained on the sample's sentences for half a minute; then each of the
three learns from 3,200 answers with three seeds (see ppo_run.py for what they share). The picture goes to docs/ppo.svg.
TRL 1.12 is put beside today's torch and transformers in a folder of its own, so that the algorithm alone differs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean
from typing import Any

from backend.starter import locate
from tests.tiny import tiny_model

ROOT = Path(__file__).resolve().parents[2]
SEEDS = (0, 1, 2)
METHODS = {"ours": "Atelier's PPO", "trl_ppo": "TRL 1.12's PPO", "rloo": "TRL 1.16's RLOO"}
LEAST_GAIN, MOST_KL = 0.2, 25.0


def measure() -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        base = pretrained(Path(folder))
        tasks = [(method, seed) for seed in SEEDS for method in METHODS]
        with ThreadPoolExecutor(2) as pool:
            found = dict(zip(tasks, pool.map(lambda task: run(base, *task), tasks), strict=True))
    draw(found, ROOT / "docs" / "ppo.svg")
    by = {method: [found[method, seed] for seed in SEEDS] for method in METHODS}
    before = mean(one["rewards"][0] for some in by.values() for one in some)
    gains = {method: mean(one["reward"] for one in some) - before for method, some in by.items()}
    kl = {method: mean(one["kl"] for one in some) for method, some in by.items()}
    worst = min(one["reward"] for one in by["ours"]) - before
    seconds = {method: mean(one["seconds"] for one in some) for method, some in by.items()}
    rows: list[dict[str, Any]] = [
        {
            "what": f"PPO: share of vowels won, worst of {len(SEEDS)} seeds (before: {before:.2f})",
            "figure": worst,
            "requirement": f"≥ {LEAST_GAIN}",
            "passed": worst >= LEAST_GAIN,
        },
        {
            "what": "PPO: KL from the base, worst seed",
            "figure": max(one["kl"] for one in by["ours"]),
            "unit": "nats an answer",
            "requirement": f"≤ {MOST_KL:g}",
            "passed": max(one["kl"] for one in by["ours"]) <= MOST_KL,
        },
    ]
    for other in ("trl_ppo", "rloo"):
        rows.append(
            {
                "what": f"PPO: share of vowels won (KL {kl['ours']:.1f}; {METHODS[other]} {kl[other]:.1f}; "
                f"{seconds['ours']:.0f} s and {seconds[other]:.0f} s)",
                "figure": gains["ours"],
                "against": METHODS[other],
                "comparison": gains[other],
                "ratio": gains["ours"] / gains[other],
                "requirement": "shown",
                "passed": True,
            }
        )
    return rows


def run(base: Path, method: str, seed: int) -> dict[str, Any]:
    """One run in a process with one thread; two fit side by side."""
    env = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1"}
    if method == "trl_ppo":
        env["PYTHONPATH"] = str(older_trl())
    command = [sys.executable, "-m", "tests.bench.ppo_run", method, str(base), str(seed)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    result = next((line for line in done.stdout.splitlines() if line.startswith("RESULT ")), None)
    if result is None:
        raise RuntimeError(done.stdout[-2000:] + done.stderr[-3000:])
    return dict(json.loads(result.removeprefix("RESULT ")))


def older_trl() -> Path:
    """TRL 1.12 alone, in the user's cache; fetched once."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "atelier" / "bench" / "trl-1.12.0"
    if not (folder / "trl").exists():
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), "trl==1.12.0"]
        subprocess.run(command, check=True)
    return folder


def pretrained(folder: Path) -> Path:
    """A small llama that writes the sample's sentences, more or less; they are beside it in texts.txt."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tiny_model(folder, chat=False)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    lines = [json.loads(line) for line in Path(locate("sample/instructions")).read_text().splitlines()]
    texts = sorted({line["prompt"][-1]["content"] for line in lines if len(line["prompt"][-1]["content"]) > 20})
    (folder / "texts.txt").write_text("\n".join(texts))
    torch.manual_seed(0)
    sizes = {"vocab_size": len(tokenizer), "hidden_size": 96, "intermediate_size": 192, "num_hidden_layers": 3}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 4, "max_position_embeddings": 128}
    ids = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    model = LlamaForCausalLM(LlamaConfig(**sizes, **heads, **ids))
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    rows = tokenizer([text[:48] + tokenizer.eos_token for text in texts], padding=True, return_tensors="pt")
    for _ in range(100):
        pick = torch.randint(len(texts), (32,))
        ids_, mask = rows["input_ids"][pick], rows["attention_mask"][pick]
        model(input_ids=ids_, attention_mask=mask, labels=ids_.masked_fill(mask == 0, -100)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder)
    return folder


def draw(found: dict[tuple[str, int], dict[str, Any]], place: Path) -> None:
    """Reward over answers: a thin line for each seed, a thick one for their mean; and where each ended."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4), dpi=130, width_ratios=(2, 1), layout="constrained")
    for (method, name), colour in zip(METHODS.items(), ("#4f46e5", "#d97706", "#059669"), strict=True):
        curves = [_smooth(found[method, seed]["rewards"]) for seed in SEEDS]
        answers = [64 * (step + 1) for step in range(min(map(len, curves)))]
        for curve in curves:
            left.plot(answers, curve[: len(answers)], color=colour, alpha=0.25, linewidth=0.8)
        means = [mean(values) for values in zip(*curves, strict=False)]
        left.plot(answers, means, color=colour, linewidth=2, label=name)
        ends = [found[method, seed] for seed in SEEDS]
        right.scatter([one["kl"] for one in ends], [one["reward"] for one in ends], color=colour, label=name, s=28)
    left.set(xlabel="answers", ylabel="share of vowels", title="Reward while it learns, three seeds")
    right.set(xlabel="KL from the base, nats an answer", title="Where each seed ended")
    left.legend(frameon=False)
    for one in (left, right):
        one.spines[["top", "right"]].set_visible(False)
        one.grid(alpha=0.2)
    place.parent.mkdir(exist_ok=True)
    figure.savefig(place)
    pyplot.close(figure)


def _smooth(values: list[float], width: int = 5) -> list[float]:
    return [mean(values[max(0, i + 1 - width) : i + 1]) for i in range(len(values))]
