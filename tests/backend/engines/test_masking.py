"""What a mask leaves out, on UNets that diffusers' pipelines for masks refuse; judged on the starter, which is one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from backend import events as ev
from backend.engines.image import ImageParams
from backend.engines.image_engine import ImageEngine
from backend.engines.masking import Blending, Kept
from backend.engines.shelf import Shelf


class Pasting(Blending):
    """The picture drawn as if nothing of the other were there; the mask's edge is then a cut."""

    def __call__(self, pipeline: Any, done: int, total: int, latents: Any) -> Any:
        return latents


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    image = Image.new("L", (64, 64), 0)
    image.paste(255, (24, 8, 60, 56))
    image.save(tmp_path / "mask.png")
    return tmp_path / "mask.png"


def edge(picture: str, mask: Path) -> float:
    """How far pixels on both sides of the mask's edge are apart, of 255."""
    with Image.open(picture) as image, Image.open(mask) as where:
        pixels, inside = np.asarray(image.convert("RGB")).astype(int), np.asarray(where) > 127
    across = abs(np.diff(pixels, axis=1)).mean(-1)[inside[:, 1:] != inside[:, :-1]]
    down = abs(np.diff(pixels, axis=0)).mean(-1)[inside[1:] != inside[:-1]]
    return float(np.concatenate([across, down]).mean())


def test_what_is_drawn_anew_goes_on_where_the_picture_ends(
    mask: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ImageEngine(Shelf())

    def draw(prompt: str, seed: int, **more: Any) -> str:
        events = engine.stream(ImageParams(prompt=prompt, seed=seed, folder=str(tmp_path / "out"), **more))
        return next(one.file for one in events if isinstance(one, ev.Produced) and one.kind == "picture")

    cut, blended = [], []
    for before, after, seed in (("a cat, red, on blue", "a car, blue", 2), ("a tree, on white", "a fish, on white", 4)):
        asked: dict[str, Any] = {"image": draw(before, seed), "mask": str(mask), "strength": 1.0}
        with monkeypatch.context() as patched:
            patched.setattr("backend.engines.image_engine.Blending", Pasting)
            cut.append(edge(draw(after, seed + 10, **asked), mask))
        made = [draw(after, seed + 10, **asked) for _ in range(2)]
        with Image.open(made[0]) as first, Image.open(made[1]) as second:
            assert np.array_equal(np.asarray(first), np.asarray(second))
        blended.append(edge(made[0], mask))
    assert sum(blended) < 0.8 * sum(cut), (blended, cut)


def test_outside_the_latents_are_the_pictures_own_with_the_noise_that_is_left(mask: Path) -> None:
    import torch
    from diffusers import DDIMScheduler
    from diffusers.image_processor import VaeImageProcessor

    from tests.tiny_images import autoencoder

    class Pipeline:
        vae = autoencoder(channels=8)
        image_processor = VaeImageProcessor(vae_scale_factor=4)
        scheduler = DDIMScheduler()

    with Image.open(mask) as white:
        kept = Kept(Image.new("RGB", (64, 64), "red"), white.copy(), blends=True)
    pipeline, blend = Pipeline(), Blending(kept, seed=3)
    pipeline.scheduler.set_timesteps(10)
    drawn = torch.ones(1, 8, 16, 16)
    with torch.inference_mode():
        clean = pipeline.vae.encode(pipeline.image_processor.preprocess(kept.picture)).latents
        steps = [blend(pipeline, done, 5, drawn) for done in range(1, 6)]  # the last five of ten
    assert all(bool((one[..., 2:14, 6:15] == 1).all()) for one in steps)
    assert torch.equal(steps[-1][..., :6], clean[..., :6])
    left = [float((one - clean)[..., :6].std()) for one in steps]
    levels = (1 - pipeline.scheduler.alphas_cumprod[pipeline.scheduler.timesteps[-4:]]).sqrt()
    assert left[:-1] == pytest.approx(levels.tolist(), rel=0.3)
    assert left == sorted(left, reverse=True)
