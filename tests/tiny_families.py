"""Tiny random pipelines of other families than Stable Diffusion 1: each with the parts that its class wants."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.tiny_images import WORDS, text_encoder, tokenizer


def family(name: str, folder: Path) -> Path:
    """Write one of FAMILIES to `folder`."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(5)
        FAMILIES[name]().save_pretrained(folder)
    return folder


def long_tokenizer() -> Any:
    """Whole words alone, as many as there are."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: index for index, token in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def t5(width: int) -> Any:
    from transformers import T5Config, T5EncoderModel

    config = T5Config(vocab_size=3 + len(WORDS), d_model=width, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    return T5EncoderModel(config).eval()


def projecting(words: Any) -> Any:
    """CLIP's text model of one layer, 16 wide, and a projection of 16."""
    from transformers import CLIPTextModelWithProjection

    return CLIPTextModelWithProjection(text_encoder(words).config).eval()


def autoencoder(levels: int = 3, **more: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        latent_channels=4, block_out_channels=(8,) * levels, down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels, norm_num_groups=4, sample_size=32, **more,
    )  # fmt: skip


def sdxl() -> Any:
    from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel

    words = tokenizer()
    net = UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32, attention_head_dim=(2, 4), norm_num_groups=4, use_linear_projection=True,
        addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=6 * 8 + 16,
    )  # fmt: skip
    return StableDiffusionXLPipeline(
        vae=autoencoder(), text_encoder=text_encoder(words), text_encoder_2=projecting(words), tokenizer=words,
        tokenizer_2=tokenizer(), unet=net, scheduler=EulerDiscreteScheduler(steps_offset=1),
    )  # fmt: skip


def sd3() -> Any:
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

    words = tokenizer()
    net = SD3Transformer2DModel(
        sample_size=8, patch_size=1, in_channels=4, out_channels=4, num_layers=1, attention_head_dim=8,
        num_attention_heads=4, caption_projection_dim=32, joint_attention_dim=32, pooled_projection_dim=32,
        pos_embed_max_size=16,
    )  # fmt: skip
    return StableDiffusion3Pipeline(
        transformer=net, scheduler=FlowMatchEulerDiscreteScheduler(), text_encoder=projecting(words), tokenizer=words,
        vae=autoencoder(use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.1),
        text_encoder_2=projecting(words), tokenizer_2=tokenizer(), text_encoder_3=t5(32), tokenizer_3=long_tokenizer(),
    )  # fmt: skip


def pixart() -> Any:
    """Its call knows no callback after a step."""
    from diffusers import DPMSolverMultistepScheduler, PixArtSigmaPipeline, PixArtTransformer2DModel

    net = PixArtTransformer2DModel(
        sample_size=32, num_layers=1, patch_size=2, attention_head_dim=8, num_attention_heads=3, caption_channels=16,
        in_channels=4, cross_attention_dim=24, out_channels=8, attention_bias=True, activation_fn="gelu-approximate",
        num_embeds_ada_norm=1000, norm_type="ada_norm_single", norm_elementwise_affine=False, norm_eps=1e-6,
    )  # fmt: skip
    return PixArtSigmaPipeline(
        tokenizer=long_tokenizer(), text_encoder=t5(16), vae=autoencoder(), transformer=net,
        scheduler=DPMSolverMultistepScheduler(),
    )  # fmt: skip


def lumina() -> Any:
    """Its text encoder is a language model."""
    from diffusers import FlowMatchEulerDiscreteScheduler, Lumina2Pipeline, Lumina2Transformer2DModel
    from transformers import Gemma2Config, Gemma2Model

    net = Lumina2Transformer2DModel(
        sample_size=4, patch_size=2, in_channels=4, hidden_size=8, num_layers=1, num_attention_heads=1, num_kv_heads=1,
        multiple_of=16, ffn_dim_multiplier=None, norm_eps=1e-5, scaling_factor=1.0, axes_dim_rope=[4, 2, 2],
        cap_feat_dim=8,
    )  # fmt: skip
    mind = Gemma2Config(
        head_dim=16, hidden_size=8, intermediate_size=16, num_attention_heads=2, num_hidden_layers=1,
        num_key_value_heads=2, vocab_size=3 + len(WORDS), attn_implementation="eager",
    )  # fmt: skip
    return Lumina2Pipeline(
        transformer=net, scheduler=FlowMatchEulerDiscreteScheduler(), text_encoder=Gemma2Model(mind).eval(),
        vae=autoencoder(4, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.1),
        tokenizer=long_tokenizer(),
    )  # fmt: skip


FAMILIES: dict[str, Callable[[], Any]] = {"sdxl": sdxl, "sd3": sd3, "pixart": pixart, "lumina": lumina}
