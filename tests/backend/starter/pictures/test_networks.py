"""The tokenizer reads any words, and the parts make a pipeline that diffusers opens."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.starter.pictures import networks


def test_the_tokenizer_knows_its_words_and_spells_others(tmp_path: Path) -> None:
    words = networks.tokenizer(["a smiling cat", "red dog on blue"] * 20, tmp_path)
    assert words.tokenize("smiling cat") == ["smiling</w>", "cat</w>"]
    ids = words("Zürich 東京", padding="max_length", max_length=networks.WORDS, truncation=True).input_ids
    assert len(ids) == networks.WORDS
    assert words.unk_token_id not in ids[: ids.index(words.eos_token_id)]
    assert len(networks.tokenizer(["other words"], tmp_path)) == len(words)


@pytest.mark.long
def test_the_parts_make_a_pipeline(tmp_path: Path) -> None:
    import torch
    from diffusers import DiffusionPipeline

    words = networks.tokenizer(["a smiling cat"] * 5, tmp_path / "words")
    net = torch.nn.ModuleDict(
        {"unet": networks.denoiser(), "text": networks.text_encoder(len(words), words.eos_token_id)}
    )
    folder = networks.assemble(tmp_path / "pipeline", networks.autoencoder(), 1.0, words, net)
    sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
    assert max(sizes) < 10_000_000
    assert sum(sizes) < 40_000_000
    pipeline = DiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    image = pipeline("a cat", num_inference_steps=2, height=64, width=64).images[0]
    assert image.size == (64, 64)
