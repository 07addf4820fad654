"""Ten pictures of Pip teach the image starter: is it Pip that it draws then, and does it still draw what it knew?

The run is the recipe's, as the page begins it. Pip is told by a classifier that is trained here, on Pip drawn anew
beside the starter's emoji and Pip's own parts in another order; emoji by the judge's. Both, and the emoji, which npm
brings, are made once and kept. About three minutes then, and ten more the first time.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import torch
from diffusers import DiffusionPipeline
from PIL import Image
from torch import nn
from torch.nn import functional

from backend.starter import IMAGE_ID, locate, mascot
from backend.starter.pictures import captions, judge
from backend.starter.pictures.emoji import catalogue, fetch, pictures, taught

ROOT = Path(__file__).resolve().parents[2]
KEPT = Path.home() / ".cache" / "atelier" / "bench" / "emoji"
WORDS = "a sks figure"
ON = [f"{WORDS} on {ground}" for ground in captions.COLOURS for _ in range(4)]
ASKED = [
    *ON,
    *[WORDS] * 8,
    *(f"{WORDS}, {ground} background" for ground in ("red", "blue", "green", "black", "yellow", "purple")),
    *(f"{WORDS} close up on red", f"{WORDS} on the left on red", f"{WORDS} on the right on blue"),
    *(f"{WORDS} small on pink", f"a picture of {WORDS}", "sks figure on orange"),
]
KNOWN = 128  # prompts of what the starter knows
SEED = 1000
CHOSEN = {"caption_column": "text"}  # as the page chooses for the sample
Shown = Any  # numpy [n, 64, 64, 3] of bytes


def measure() -> list[dict[str, Any]]:
    archive = fetch(KEPT)
    emojis = catalogue(archive)
    raw = pictures(archive, emojis)
    is_pip, which = pip_teller(raw, taught(emojis)), judge.classifier(raw, taught(emojis), KEPT)
    known = judge.asked(emojis, KNOWN)
    pipeline = DiffusionPipeline.from_pretrained(locate(IMAGE_ID), dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)

    def look() -> tuple[float, float, float]:
        """Shares: Pip in what was asked for as Pip, its ground right, emoji right in what was asked for as emoji."""
        shown = drawn(pipeline, ASKED)
        grounds = [captions.Scene(0, "", prompt.split(" on ")[1]) for prompt in ON]
        right = [judge.colour_right(one, ground)["ground"] for one, ground in zip(shown, grounds, strict=False)]
        still = judge.drawn(pipeline, [text for _, text in known])
        agreed = judge.agreement(which, still, [scene for scene, _ in known], emojis)["emoji"]
        return is_pip(shown), sum(right) / len(right), agreed

    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "params.json").write_text(json.dumps(CHOSEN))
        begun = time.perf_counter()
        command = [sys.executable, "-m", "backend.recipes.image_lora", str(Path(name) / "params.json")]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        took = time.perf_counter() - begun
        before = look()
        pipeline.load_lora_weights(str(Path(name) / "adapter"))
        after = look()
    return [
        {
            "what": "ten pictures taught to the image starter, start of the process to its end", "figure": took,
            "unit": "s", "requirement": "≤ 300 s", "passed": took <= 300,
        },
        {
            "what": f"Pip seen in {len(ASKED)} new pictures", "figure": 100 * after[0], "unit": "%",
            "against": "before", "comparison": 100 * before[0], "requirement": "≥ 80 %; before ≤ 5 %",
            "passed": after[0] >= 0.8 and before[0] <= 0.05,
        },
        {
            "what": f"the ground asked for, in {len(ON)} of them", "figure": 100 * after[1], "unit": "%",
            "requirement": "≥ 80 %", "passed": after[1] >= 0.8,
        },
        {
            "what": f"emoji seen in {KNOWN} pictures of what it knew", "figure": 100 * after[2], "unit": "%",
            "against": "before", "comparison": 100 * before[2], "ratio": after[2] / before[2],
            "requirement": "≥ 0.9 ×", "passed": after[2] >= 0.9 * before[2],
        },
    ]  # fmt: skip


def drawn(pipeline: Any, prompts: list[str]) -> Shown:
    found = []
    for start in range(0, len(prompts), 16):
        some = prompts[start : start + 16]
        chance = [torch.Generator().manual_seed(SEED + start + index) for index in range(len(some))]
        out = pipeline(
            some, num_inference_steps=judge.STEPS, guidance_scale=judge.GUIDANCE, generator=chance, output_type="np"
        )
        found.append((out.images * 255).round().astype(numpy.uint8))
    return numpy.concatenate(found)


def pip_teller(raw: Any, some: list[int], steps: int = 500) -> Callable[[Shown], float]:
    """Gives the share of pictures that show Pip. Raises AssertionError where it can't tell what it never saw."""

    def block(before: int, after: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2))

    torch.manual_seed(3)
    net = nn.Sequential(
        block(3, 16), block(16, 32), block(32, 64), block(64, 64), nn.Flatten(), nn.Dropout(0.3), nn.Linear(64 * 16, 1)
    )

    def share(images: Shown) -> float:
        with torch.inference_mode():
            return float((net(inputs(images))[:, 0] > 0).float().mean())

    held = KEPT / "pip.pt"
    if held.exists():
        net.load_state_dict(torch.load(held, weights_only=True))
    else:
        dice = random.Random(3)
        pips = [pip(dice) for _ in range(600)]
        optimizer = torch.optim.AdamW(net.parameters(), 1e-3, weight_decay=1e-3)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = 1e-3 * (1 - step / steps)
            right = [dice.choice(pips) for _ in range(24)]
            wrong = [emoji(raw, some, dice) for _ in range(28)]
            wrong += [shuffled(dice.choice(pips), dice) for _ in range(8)] + [dice.choice(pips)[::-1] for _ in range(4)]
            images = inputs(numpy.stack(right + wrong)).roll((dice.randrange(-3, 4), dice.randrange(-3, 4)), (2, 3))
            if dice.random() < 0.5:
                images = functional.avg_pool2d(images, 3, 1, 1)
            images = images + 0.1 * torch.randn_like(images)
            wanted = torch.tensor([1.0] * len(right) + [0.0] * len(wrong))
            loss = functional.binary_cross_entropy_with_logits(net(images)[:, 0], wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        torch.save(net.state_dict(), held)
    net.eval()
    dice = random.Random(99)
    unseen = numpy.stack([pip(dice) for _ in range(200)])
    assert share(unseen) > 0.95
    assert share(numpy.stack([emoji(raw, some, dice) for _ in range(400)])) < 0.02
    assert share(numpy.stack([shuffled(one, dice) for one in unseen])) < 0.1
    return share


def inputs(images: Shown) -> torch.Tensor:
    return torch.from_numpy(images.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1


def pip(dice: random.Random) -> Shown:
    """Pip anywhere, on about one of the colours."""
    colour = captions.COLOURS[dice.choice(list(captions.COLOURS))]
    mascot.GROUNDS["any"] = "#" + "".join(f"{max(0, min(255, part + dice.randrange(-25, 26))):02x}" for part in colour)
    where = dice.uniform(0.36, 0.64), dice.uniform(0.46, 0.62)
    scene = mascot.Scene("any", dice.uniform(0.45, 1.15), *where, dice.uniform(-0.8, 0.8))
    return numpy.asarray(mascot.draw(scene).resize((64, 64), Image.Resampling.LANCZOS))


def emoji(raw: Any, some: list[int], dice: random.Random) -> Shown:
    one = dice.choice(some)
    return captions.draw(raw[one], captions.scene(one, dice))


def shuffled(image: Shown, dice: random.Random) -> Shown:
    """The same parts in other places."""
    side = dice.choice((16, 32))
    parts = [image[y : y + side, x : x + side] for y in range(0, 64, side) for x in range(0, 64, side)]
    order = list(parts)
    while all((one == other).all() for one, other in zip(order, parts, strict=True)):
        dice.shuffle(order)
    wide = 64 // side
    return numpy.concatenate([numpy.concatenate(order[at : at + wide], 1) for at in range(0, len(order), wide)], 0)
