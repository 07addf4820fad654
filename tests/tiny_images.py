"""Text-to-image pipelines of a few thousand random weights: what they draw means nothing, but always the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WORDS = ("a", "cat", "dog", "red", "blue", "on", "the", "moon", "photo", "of", "smiling")
READS = 16  # tokens that the text encoder takes


def tokenizer() -> Any:
    """CLIP's form: a few whole words, any other spelt byte by byte."""
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary: dict[str, int] = {}
    merges: list[tuple[str, str]] = []
    for token in (*letters, *(f"{letter}</w>" for letter in letters)):
        vocabulary[token] = len(vocabulary)
    for word in WORDS:
        parts = [*word[:-1], f"{word[-1]}</w>"]
        while len(parts) > 1:
            pair = (parts[0], parts[1])
            parts = ["".join(pair), *parts[2:]]
            if pair not in merges:
                merges.append(pair)
            vocabulary.setdefault(parts[0], len(vocabulary))
    for token in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[token] = len(vocabulary)
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=READS)


def text_encoder(words: Any, seed: int = 0) -> Any:
    """A CLIP text model of one layer, 16 wide."""
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(words), hidden_size=16, intermediate_size=32, num_hidden_layers=1,
                num_attention_heads=2, max_position_embeddings=READS, projection_dim=16,
                bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
                initializer_factor=20.0,
            )
        ).eval()  # fmt: skip


def unet(width: int = 16) -> Any:
    """Reads text that is 16 wide; latents of 4 channels, 8×8."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(width, 2 * width),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16, attention_head_dim=4, norm_num_groups=4,
    )  # fmt: skip


def autoencoder(tiny: bool = True) -> Any:
    """AutoencoderTiny, or AutoencoderKL; four pixels to a latent each way."""
    from diffusers import AutoencoderKL, AutoencoderTiny

    if not tiny:
        return AutoencoderKL(
            in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(8, 8, 8), layers_per_block=1,
            down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
            norm_num_groups=4, sample_size=32,
        )  # fmt: skip
    return AutoencoderTiny(
        in_channels=3, out_channels=3, latent_channels=4, encoder_block_out_channels=(8, 8, 8),
        decoder_block_out_channels=(8, 8, 8), num_encoder_blocks=(1, 1, 1), num_decoder_blocks=(1, 1, 1),
    )  # fmt: skip


def tiny_pipeline(folder: Path, tiny_vae: bool = True, width: int = 16, safety: Any = None) -> Path:
    """Write a StableDiffusionPipeline that draws 32×32 pixels to `folder`; `width` of its UNet's first layer."""
    import torch
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    words = tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        denoiser, pixels = unet(width), autoencoder(tiny_vae)
    StableDiffusionPipeline(
        vae=pixels, text_encoder=text_encoder(words), tokenizer=words, unet=denoiser, safety_checker=safety,
        scheduler=DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip
    return folder
