"""What teaching an image model is said to take, beside what was counted in a real one."""

from __future__ import annotations

from pathlib import Path

from backend.recipes import device, image_lora, image_model, image_preflight
from backend.recipes.params import check
from backend.recipes.preflight import Place

GB = 1024**3


def test_the_weights_that_learn_are_counted_as_they_are(tiny_image: Path) -> None:
    asked = {"model": str(tiny_image), "target_modules": image_lora.WIDE, "lora_r": 3}
    painter = image_model.Painter.load(str(tiny_image), device.choose(device.Machine(), "fp32"))
    taught = image_lora.Lora(painter, check(image_lora.Params, asked))
    seen = image_preflight.estimate("image_lora", asked, Place(8 * GB, 8 * GB, 2))
    assert seen["memory"]["parts"]["trained"] == 16 * sum(one.numel() for one in taught.trained.values())
