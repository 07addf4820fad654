"""Every family that can be taught is: tiny pipelines of random weights, with all that a GPU's run would switch on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from PIL import ImageChops

from backend.recipes import image_lora, textual_inversion
from backend.recipes.params import check
from tests.tiny_images import tiny_pipeline, tiny_sd3, tiny_xl

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("one_thread")]
QUICK = {"max_steps": 2, "per_device_train_batch_size": 2, "validation_steps": 2, "num_validation_images": 1}
KEPT = {"with_prior_preservation": True, "class_prompt": "a cat | a dog", "num_class_images": 2}
FAMILIES = {"sd": tiny_pipeline, "xl": tiny_xl, "sd3": tiny_sd3}


def drawn(pipeline: Any) -> Any:
    pipeline.set_progress_bar_config(disable=True)
    dice = torch.Generator().manual_seed(0)
    return pipeline("a red cat", num_inference_steps=2, height=32, width=32, generator=dice).images[0]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_lora_is_learned_and_read_by_diffusers(family: str, precision: str, tmp_path: Path) -> None:
    make: Callable[[Path], Path] = FAMILIES[family]
    model = make(tmp_path / "model")
    more = {"gradient_checkpointing": "on", "precision": precision, "train_text_encoder": True, "learning_rate": 0.1}
    params = check(image_lora.Params, {"model": str(model), **QUICK, **KEPT, **more})
    (tmp_path / "run").mkdir()
    image_lora.run(params, tmp_path / "run")
    assert len(list((tmp_path / "run/class").glob("*.png"))) == 2
    assert len(list((tmp_path / "run/samples/step-2").glob("*.png"))) == 2
    pipeline = DiffusionPipeline.from_pretrained(model)
    before = drawn(pipeline)
    pipeline.load_lora_weights(tmp_path / "run/adapter")
    parts = {"sd": {"unet", "text_encoder"}, "xl": {"unet", "text_encoder", "text_encoder_2"}}
    wanted = parts.get(family, {"transformer", "text_encoder", "text_encoder_2"})
    assert pipeline.get_list_adapters().keys() == wanted
    assert ImageChops.difference(before, drawn(pipeline)).getbbox() is not None


def test_a_word_wants_one_text_encoder(tmp_path: Path) -> None:
    params = check(textual_inversion.Params, {"model": str(tiny_xl(tmp_path / "model")), **QUICK})
    (tmp_path / "run").mkdir()
    with pytest.raises(Exception, match="has 2 text encoders; a new word is taught to models with one"):
        textual_inversion.run(params, tmp_path / "run")
