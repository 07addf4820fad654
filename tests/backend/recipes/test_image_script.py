"""The plain Python that teaches the same: it runs, and what it saves is read by diffusers."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from backend.errors import NotFound
from backend.recipes import image_lora, image_script, textual_inversion
from backend.recipes.params import check
from backend.starter import SAMPLES
from tests.tiny_images import tiny_lora, tiny_xl

QUICK = {"max_steps": 2, "per_device_train_batch_size": 2, "validation_steps": 1}
WAYS = {
    "image_lora": (image_lora, {"caption_column": "text", "train_text_encoder": True}, "pytorch_lora_weights"),
    "textual_inversion": (textual_inversion, {"initializer_token": "cat"}, "learned_embeds"),
}


def script(recipe: str, model: str, **more: Any) -> str:
    module, own, _ = WAYS[recipe]
    params = check(module.Params, {"model": model, **QUICK, **own, **more})
    return image_script.code(recipe, params, {"dataset": str(SAMPLES["sample/mascot"])})


@pytest.mark.parametrize("recipe", WAYS)
def test_it_is_python_of_hugging_face_alone(recipe: str) -> None:
    more: dict[str, Any] = {}
    if recipe == "image_lora":
        more = {"with_prior_preservation": True, "start_from": "run/ab", "lora_dropout": 0.1, "max_rows": 4}
    tree = ast.parse(script(recipe, 'odd "name"', **more))
    names = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    packages = {name.partition(".")[0] for name in names}
    assert packages <= {"datasets", "diffusers", "peft", "PIL", "safetensors", "pathlib"}


def test_a_transformer_has_no_script(tmp_path: Path) -> None:
    (tmp_path / "transformer").mkdir()
    with pytest.raises(NotFound, match="no plain script"):
        script("image_lora", str(tmp_path))


@pytest.mark.long
def test_it_teaches_an_sdxl_with_both_its_encoders(tmp_path: Path) -> None:
    from diffusers import StableDiffusionXLPipeline

    model = tiny_xl(tmp_path / "model")
    more = {"with_prior_preservation": True, "class_prompt": "a cat", "num_class_images": 2, "prior_loss_weight": 0.5}
    train(script("image_lora", str(model), **more), tmp_path)
    pipeline = StableDiffusionXLPipeline.from_pretrained(model)
    pipeline.load_lora_weights(tmp_path / "adapter")
    assert pipeline.get_list_adapters().keys() == {"unet", "text_encoder", "text_encoder_2"}


@pytest.mark.long
def test_the_lines_of_the_card_draw_with_a_base_in_half_precision(tiny_image: Path, tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline

    StableDiffusionPipeline.from_pretrained(tiny_image, dtype=torch.float16).save_pretrained(tmp_path / "half")
    adapter = tiny_lora(tmp_path / "adapter", tiny_image)
    train(image_script.use("image_lora", str(tmp_path / "half"), "a cat", str(adapter)), tmp_path)


def train(text: str, folder: Path) -> None:
    """Execute `text` in `folder`, where it leaves a picture."""
    (folder / "train.py").write_text(text)
    env = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "HF_HOME": str(folder / "hub")}
    done = subprocess.run(
        [sys.executable, "train.py"], cwd=folder, capture_output=True, text=True, env=env, timeout=280
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (folder / "picture.png").is_file()


@pytest.mark.long
@pytest.mark.parametrize("recipe", WAYS)
def test_it_runs_and_saves_what_diffusers_reads(recipe: str, tiny_image: Path, tmp_path: Path) -> None:
    train(script(recipe, str(tiny_image)), tmp_path)
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(tiny_image)
    if recipe == "image_lora":
        pipeline.load_lora_weights(tmp_path / "adapter")
        assert pipeline.get_list_adapters().keys() == {"unet", "text_encoder"}
    else:
        pipeline.load_textual_inversion(tmp_path / "adapter", weight_name="learned_embeds.safetensors")
        assert "<thing>" in pipeline.tokenizer.get_vocab()
