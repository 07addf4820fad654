"""One new word: its embedding learns, diffusers reads it, and nothing else has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from backend.errors import BadInput
from backend.recipes import textual_inversion
from backend.recipes.params import check

pytestmark = pytest.mark.usefixtures("one_thread")
QUICK = {"max_steps": 2, "num_validation_images": 0, "per_device_train_batch_size": 2, "learning_rate": 0.5}


def params(**more: Any) -> textual_inversion.Params:
    return check(textual_inversion.Params, {**QUICK, **more})


def test_the_word_is_learned_and_read_by_diffusers(tiny_image: Path, tmp_path: Path) -> None:
    textual_inversion.run(params(model=str(tiny_image), placeholder_token="<pip>", initializer_token="cat"), tmp_path)
    held = load_file(tmp_path / "adapter" / textual_inversion.WEIGHTS)
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_image)
    table = pipeline.text_encoder.get_input_embeddings().weight.detach()
    begun = table[pipeline.tokenizer.encode("cat", add_special_tokens=False)[0]]
    assert held["<pip>"].shape == (1, 16)
    assert not torch.allclose(held["<pip>"][0], begun)
    pipeline.load_textual_inversion(tmp_path / "adapter", weight_name=textual_inversion.WEIGHTS)
    assert "<pip>" in pipeline.tokenizer.get_vocab()
    new = pipeline.text_encoder.get_input_embeddings().weight.detach()
    assert torch.equal(new[: len(table)], table)
    assert torch.equal(new[pipeline.tokenizer.convert_tokens_to_ids("<pip>")], held["<pip>"][0])


def test_the_prompts_follow_the_word() -> None:
    assert params(placeholder_token="<pip>").instance_prompt == "a <pip>"
    assert params().shown == ["a <thing>", "a <thing> on blue"]


@pytest.mark.parametrize("field", ["instance_prompt", "validation_prompt"])
def test_a_prompt_without_the_word(field: str) -> None:
    with pytest.raises(BadInput, match=f"{field} is 'a figure'; the new word '<thing>' is not in it"):
        textual_inversion.preflight(params(**{"model": "someone/else", field: "a figure"}))


def test_captions_without_the_word(tiny_image: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"The caption of picture 1 is 'a sks figure on white'"):
        textual_inversion.run(params(model=str(tiny_image), caption_column="text"), tmp_path)


def test_a_word_that_is_known(tiny_image: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="which the model knows already"):
        textual_inversion.run(params(model=str(tiny_image), placeholder_token="cat</w>"), tmp_path)
