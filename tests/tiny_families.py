"""Tiny random pipelines of families that differ in what they are made of and in how they are called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.tiny_images import WORDS, long_reader, tiny_sd3, tiny_xl


def autoencoder(levels: int, **more: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        latent_channels=4, block_out_channels=(8,) * levels, down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels, norm_num_groups=4, sample_size=32, **more,
    )  # fmt: skip


def tiny_pixart(folder: Path) -> Path:
    """A diffusion transformer; its call knows no callback after a step."""
    import torch
    from diffusers import DPMSolverMultistepScheduler, PixArtSigmaPipeline, PixArtTransformer2DModel

    with torch.random.fork_rng():
        torch.manual_seed(7)
        words, t5 = long_reader(16)
        net = PixArtTransformer2DModel(
            sample_size=32, num_layers=1, patch_size=2, attention_head_dim=8, num_attention_heads=3, in_channels=4,
            caption_channels=16, cross_attention_dim=24, out_channels=8, attention_bias=True, norm_eps=1e-6,
            activation_fn="gelu-approximate", num_embeds_ada_norm=1000, norm_type="ada_norm_single",
            norm_elementwise_affine=False,
        )  # fmt: skip
        pixels = autoencoder(3)
    PixArtSigmaPipeline(
        tokenizer=words, text_encoder=t5, vae=pixels, transformer=net, scheduler=DPMSolverMultistepScheduler()
    ).save_pretrained(folder)
    return folder


def tiny_lumina(folder: Path) -> Path:
    """Flow matching; its text encoder is a language model."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, Lumina2Pipeline, Lumina2Transformer2DModel
    from transformers import Gemma2Config, Gemma2Model

    mind = Gemma2Config(
        head_dim=16, hidden_size=8, intermediate_size=16, num_attention_heads=2, num_hidden_layers=1,
        num_key_value_heads=2, vocab_size=3 + len(WORDS), attn_implementation="eager",
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(8)
        words, _ = long_reader(16)
        net = Lumina2Transformer2DModel(
            sample_size=4, patch_size=2, in_channels=4, hidden_size=8, num_layers=1, num_attention_heads=1,
            num_kv_heads=1, multiple_of=16, ffn_dim_multiplier=None, norm_eps=1e-5, scaling_factor=1.0,
            axes_dim_rope=[4, 2, 2], cap_feat_dim=8,
        )  # fmt: skip
        pixels = autoencoder(4, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.1)
        reader = Gemma2Model(mind).eval()
    Lumina2Pipeline(
        transformer=net, scheduler=FlowMatchEulerDiscreteScheduler(), text_encoder=reader, vae=pixels, tokenizer=words
    ).save_pretrained(folder)
    return folder


FAMILIES: dict[str, Callable[[Path], Path]] = {
    "sdxl": tiny_xl, "sd3": tiny_sd3, "pixart": tiny_pixart, "lumina": tiny_lumina
}  # fmt: skip
