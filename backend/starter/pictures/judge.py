"""How well the image starter draws what was asked: held-out prompts, their colours, and a classifier that never met it.

    python -m backend.starter.pictures.judge FOLDER

FOLDER is the one that it was trained in. Writes `grid.png` and `judged.json` there. A prompt is held out when its
combination of emoji, colour and ground was never trained on.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.starter.pictures import captions
from backend.starter.pictures.emoji import ARCHIVE, Emoji, catalogue, pictures, taught

if TYPE_CHECKING:
    import numpy

GRID = 64
JUDGED = 512
STEPS, GUIDANCE = 8, 4.0
_FAR = 60.0  # from the ground's colour, in 0–255: what is no ground
_FEW = 40  # pixels; fewer are no picture


def asked(emojis: list[Emoji], count: int, seed: int = 1) -> list[tuple[captions.Scene, str]]:
    """Held-out scenes with a caption each."""
    dice = random.Random(seed)
    places = [place for place in taught(emojis) if captions.tintable(emojis[place])]  # of the others few are held out
    found: list[tuple[captions.Scene, str]] = []
    while len(found) < count:
        if scenes := captions.apart(dice.choice(places)):
            one = dice.choice(scenes)
            found.append((one, captions.caption(one, emojis, dice)))
    return found


def drawn(pipeline: Any, prompts: list[str], steps: int = STEPS, guidance: float = GUIDANCE) -> numpy.ndarray:
    """[n, 64, 64, 3] of bytes; the n-th prompt is drawn from the seed n."""
    import numpy
    import torch

    found: list[numpy.ndarray] = []
    for start in range(0, len(prompts), 32):
        some = prompts[start : start + 32]
        chance = [torch.Generator().manual_seed(start + index) for index in range(len(some))]
        out = pipeline(
            some, num_inference_steps=steps, guidance_scale=guidance, generator=chance, output_type="np",
            height=64, width=64,
        )  # fmt: skip
        found.append((out.images * 255).round().astype(numpy.uint8))
    return numpy.concatenate(found)


def colour_right(image: numpy.ndarray, scene: captions.Scene) -> dict[str, bool]:
    """Whether `ground` and, where one was asked for, `ink` have the colour asked for, by its nearest name.

    The ground is what the rim shows; the ink what the rest does, in any light and shade.
    """
    import numpy

    names = list(captions.COLOURS)
    palette = numpy.array(list(captions.COLOURS.values()), numpy.float32)
    rim = numpy.concatenate([image[0], image[-1], image[:, 0], image[:, -1]]).astype(numpy.float32)
    right = {"ground": names[_nearest(rim, palette[:, None])] == scene.ground}
    if scene.colour:
        pixels = image.reshape(-1, 3).astype(numpy.float32)
        ink = pixels[numpy.linalg.norm(pixels - palette[names.index(scene.ground)], axis=-1) > _FAR]
        inks = [name for name in names if name != "white"]  # nothing is tinted white, and its shades are greys
        palette = numpy.array([captions.COLOURS[name] for name in inks], numpy.float32)
        dark = palette[:, None] * (0.3 + 0.7 * numpy.linspace(0, 1, 8)[:, None])
        light = palette[:, None] + (255 - palette[:, None]) * 0.2 * numpy.linspace(0, 1, 8)[1:, None]
        shades = numpy.concatenate([dark, light], axis=1)
        right["ink"] = len(ink) >= _FEW and inks[_nearest(ink, shades)] == scene.colour
    return right


def _nearest(pixels: numpy.ndarray, shades: numpy.ndarray) -> int:
    """The colour whose shades [colours, shades of each, 3] `pixels` [n, 3] are nearest to on the whole."""
    import numpy

    away = numpy.linalg.norm(pixels[:, None, None] - shades, axis=-1).min(-1)
    return int(away.mean(0).argmin())


def classifier(raw: numpy.ndarray, some: list[int], folder: Path, seed: int = 7, steps: int = 3000) -> Any:
    """Tells which of `some` emoji a picture shows, in any colours. Trained on real pictures, blurred and shifted."""
    import numpy
    import torch
    from torch import nn
    from torch.nn import functional

    def block(before: int, after: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after), nn.ReLU(), nn.MaxPool2d(2))

    torch.manual_seed(seed)
    net = nn.Sequential(
        block(3, 24), block(24, 48), block(48, 96), block(96, 128), nn.Flatten(), nn.Dropout(0.3),
        nn.Linear(128 * 16, len(raw)),
    )  # fmt: skip
    held = folder / "classifier.pt"
    if held.exists():
        net.load_state_dict(torch.load(held, weights_only=True))
        return net.eval()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1.5e-3, weight_decay=1e-3)
    dice = random.Random(seed)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 1.5e-3 * min(1, (step + 1) / 100) * (1 - step / steps)
        which = [dice.choice(some) for _ in range(64)]
        batch = [captions.draw(raw[one], captions.scene(one, dice)) for one in which]  # held-out ones, too
        images = torch.from_numpy(numpy.stack(batch)).permute(0, 3, 1, 2).float() / 127.5 - 1
        images = images.roll((dice.randrange(-3, 4), dice.randrange(-3, 4)), (2, 3))
        if dice.random() < 0.5:
            images = functional.avg_pool2d(images, 3, 1, 1)
        images = images + 0.1 * torch.randn_like(images)
        loss = functional.cross_entropy(net(images), torch.tensor(which), label_smoothing=0.05)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 100 == 99:
            print("classifier", step + 1, round(loss.item(), 3), flush=True)
    torch.save(net.state_dict(), held)
    return net.eval()


def agreement(net: Any, images: numpy.ndarray, scenes: list[captions.Scene], emojis: list[Emoji]) -> dict[str, float]:
    """Share of pictures in which the classifier sees the emoji asked for, has it among its first five, or its group."""
    import torch

    inputs = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        guesses = torch.cat([net(part) for part in inputs.split(64)]).topk(min(5, len(emojis))).indices.tolist()
    pairs = [(five, one.emoji) for five, one in zip(guesses, scenes, strict=True)]
    return {
        "emoji": sum(five[0] == one for five, one in pairs) / len(pairs),
        "five": sum(one in five for five, one in pairs) / len(pairs),
        "group": sum(emojis[five[0]].group == emojis[one].group for five, one in pairs) / len(pairs),
    }


def judge(folder: Path) -> dict[str, Any]:
    """All figures of the pipeline in `folder`, beside those of the real pictures."""
    import numpy
    import torch
    from diffusers import DiffusionPipeline
    from PIL import Image

    archive = folder / ARCHIVE
    emojis = catalogue(archive)
    raw = pictures(archive, emojis)
    net = classifier(raw, taught(emojis), folder)
    wanted = asked(emojis, JUDGED)
    scenes = [scene for scene, _ in wanted]
    real = numpy.stack([captions.draw(raw[one.emoji], one) for one in scenes])
    pipeline = DiffusionPipeline.from_pretrained(folder / "pipeline", dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    images = drawn(pipeline, [text for _, text in wanted])
    found: dict[str, Any] = {"pictures": len(images), "steps": STEPS, "guidance": GUIDANCE}
    for name, shown in (("drawn", images), ("real", real)):
        rights = [colour_right(image, scene) for image, scene in zip(shown, scenes, strict=True)]
        inks = [right["ink"] for right in rights if "ink" in right]
        found[name] = agreement(net, shown, scenes, emojis) | {
            "ground_colour": sum(right["ground"] for right in rights) / len(rights),
            "ink_colour": sum(inks) / len(inks),
        }
    found["chance"] = 1 / len(taught(emojis))
    rows = [numpy.concatenate(list(images[start : start + 8]), 1) for start in range(0, GRID, 8)]
    Image.fromarray(numpy.concatenate(rows, 0)).save(folder / "grid.png")
    (folder / "judged.json").write_text(json.dumps(found | {"prompts": [text for _, text in wanted[:GRID]]}, indent=1))
    return found


if __name__ == "__main__":
    print(json.dumps(judge(Path(sys.argv[1])), indent=1))
