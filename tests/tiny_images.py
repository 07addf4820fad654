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


def unet(width: int = 16, channels: int = 4) -> Any:
    """Reads text that is 16 wide; latents of `channels`, 8×8."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=8, in_channels=channels, out_channels=channels, layers_per_block=1,
        block_out_channels=(width, 2 * width),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16, attention_head_dim=4, norm_num_groups=4,
    )  # fmt: skip


def autoencoder(tiny: bool = True, channels: int = 4) -> Any:
    """AutoencoderTiny, or AutoencoderKL; four pixels to a latent each way."""
    from diffusers import AutoencoderKL, AutoencoderTiny

    if not tiny:
        return AutoencoderKL(
            in_channels=3, out_channels=3, latent_channels=channels, block_out_channels=(8, 8, 8), layers_per_block=1,
            down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
            norm_num_groups=4, sample_size=32,
        )  # fmt: skip
    return AutoencoderTiny(
        in_channels=3, out_channels=3, latent_channels=channels, encoder_block_out_channels=(8, 8, 8),
        decoder_block_out_channels=(8, 8, 8), num_encoder_blocks=(1, 1, 1), num_decoder_blocks=(1, 1, 1),
    )  # fmt: skip


def tiny_pipeline(folder: Path, tiny_vae: bool = True, width: int = 16, safety: Any = None, channels: int = 4) -> Path:
    """Write a StableDiffusionPipeline that draws 32×32 pixels to `folder`; `width` of its UNet's first layer."""
    import torch
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    words = tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        denoiser, pixels = unet(width, channels), autoencoder(tiny_vae, channels)
    StableDiffusionPipeline(
        vae=pixels, text_encoder=text_encoder(words), tokenizer=words, unet=denoiser, safety_checker=safety,
        scheduler=DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        feature_extractor=eyes() if safety else None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def eyes() -> Any:
    """What prepares a picture of 32×32 for the safety checker."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    return CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})


def safety_checker() -> Any:
    """One that takes everything for unsafe."""
    import torch
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig

    eyes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    checker = StableDiffusionSafetyChecker(
        CLIPConfig(vision_config=eyes | {"image_size": 32, "patch_size": 16}, text_config=eyes, projection_dim=16)
    )
    checker.concept_embeds_weights.data = torch.full((17,), -2.0)  # no cosine is less
    return checker


def tiny_lora(folder: Path, pipeline: Path, seed: int = 0, part: str = "unet") -> Path:
    """Write a LoRA of rank 2 for what denoises in `pipeline` to `folder`; random, so it changes every picture."""
    import torch
    from diffusers import AutoModel, StableDiffusion3Pipeline, StableDiffusionPipeline
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import LoraConfig, get_peft_model_state_dict

    net = AutoModel.from_pretrained(str(pipeline / part))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net.add_adapter(LoraConfig(r=2, init_lora_weights=False, target_modules=["to_q", "to_k", "to_v", "to_out.0"]))
        for name, weight in net.named_parameters():
            if "lora_" in name:
                weight.data.normal_()
    layers = convert_state_dict_to_diffusers(get_peft_model_state_dict(net))
    if part == "unet":
        StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=layers)
    else:
        layers = get_peft_model_state_dict(net)
        StableDiffusion3Pipeline.save_lora_weights(folder, transformer_lora_layers=layers)
    return folder


def tiny_words(folder: Path, token: str = "<thing>", size: int = 16, seed: int = 0) -> Path:
    """Write a word that textual inversion could have learned to `folder`."""
    import json

    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    learned = torch.randn(1, size, generator=torch.Generator().manual_seed(seed)) * 5
    save_file({token: learned}, folder / "learned_embeds.safetensors")
    (folder / "adapter.json").write_text(json.dumps({"model": "", "kind": "textual_inversion", "token": token}))
    return folder


def tiny_control(folder: Path, pipeline: Path, reads: int = 16) -> Path:
    """Write a ControlNet for the UNet of `pipeline` to `folder`, which reads text `reads` wide."""
    import torch
    from diffusers import ControlNetModel, UNet2DConditionModel

    config = dict(UNet2DConditionModel.load_config(pipeline / "unet"))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = ControlNetModel.from_unet(
            UNet2DConditionModel.from_config(config | {"cross_attention_dim": reads}),
            conditioning_channels=3, conditioning_embedding_out_channels=(8, 8, 8), load_weights_from_unet=True,
        )  # fmt: skip
        for block in (*net.controlnet_down_blocks, net.controlnet_mid_block, net.controlnet_cond_embedding.conv_out):
            for weight in block.parameters():
                weight.data.normal_()
    net.save_pretrained(folder)
    return folder


def long_reader(width: int) -> tuple[Any, Any]:
    """T5's form of a tokenizer and text encoder, `width` wide."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    vocabulary = {token: index for index, token in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    long = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    config = T5Config(vocab_size=len(vocabulary), d_model=width, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    return long, T5EncoderModel(config).eval()


def tiny_flux(folder: Path, embeds: bool = True) -> Path:
    """Write a FluxPipeline that draws 32×32 pixels to `folder`; `embeds`: whether its transformer is told guidance."""
    import torch
    from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel

    words = tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(4)
        denoiser = FluxTransformer2DModel(
            in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
            joint_attention_dim=16, pooled_projection_dim=16, axes_dims_rope=(4, 4, 8), guidance_embeds=embeds,
        )  # fmt: skip
        pixels = shifted_autoencoder()
        long, t5 = long_reader(16)
    FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(), vae=pixels, text_encoder=text_encoder(words), tokenizer=words,
        text_encoder_2=t5, tokenizer_2=long, transformer=denoiser,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def shifted_autoencoder() -> Any:
    """Of the form that models of flow matching have: no convolutions around the latents, whose mean is shifted."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        latent_channels=4, block_out_channels=(8, 8, 8), down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3, norm_num_groups=4, use_quant_conv=False,
        use_post_quant_conv=False, shift_factor=0.1, sample_size=32,
    )  # fmt: skip


def tiny_xl(folder: Path) -> Path:
    """Write a StableDiffusionXLPipeline that draws 32×32 pixels to `folder`: two text encoders, sizes as numbers."""
    import torch
    from diffusers import DDIMScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
    from transformers import CLIPTextModelWithProjection

    words = tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(5)
        pooling = CLIPTextModelWithProjection(text_encoder(words).config).eval()
        denoiser = UNet2DConditionModel(
            sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(16, 32),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=32, attention_head_dim=(2, 4),
            norm_num_groups=4, use_linear_projection=True, addition_embed_type="text_time",
            addition_time_embed_dim=8, projection_class_embeddings_input_dim=16 + 6 * 8,
        )  # fmt: skip
        pixels = autoencoder(tiny=False)
    StableDiffusionXLPipeline(
        vae=pixels, text_encoder=text_encoder(words), text_encoder_2=pooling, tokenizer=words, tokenizer_2=words,
        unet=denoiser, scheduler=DDIMScheduler(clip_sample=False), add_watermarker=False,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def tiny_sd3(folder: Path) -> Path:
    """Write a StableDiffusion3Pipeline that draws 32×32 pixels to `folder`: three text encoders."""
    import torch
    from diffusers import (
        FlowMatchEulerDiscreteScheduler,
        SD3Transformer2DModel,
        StableDiffusion3Pipeline,
    )
    from transformers import CLIPTextModelWithProjection

    words = tokenizer()
    with torch.random.fork_rng():
        torch.manual_seed(6)
        long, t5 = long_reader(32)
        first, second = (CLIPTextModelWithProjection(text_encoder(words).config).eval() for _ in range(2))
        denoiser = SD3Transformer2DModel(
            sample_size=8, patch_size=1, in_channels=4, out_channels=4, num_layers=1, attention_head_dim=8,
            num_attention_heads=4, caption_projection_dim=32, joint_attention_dim=32, pooled_projection_dim=32,
        )  # fmt: skip
        pixels = shifted_autoencoder()
    StableDiffusion3Pipeline(
        transformer=denoiser, scheduler=FlowMatchEulerDiscreteScheduler(), vae=pixels, text_encoder=first,
        tokenizer=words, text_encoder_2=second, tokenizer_2=words, text_encoder_3=t5, tokenizer_3=long,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def one_file(file: Path, pipeline: Path) -> Path:
    """Write the weights of a Stable Diffusion pipeline to `file` under the names that its first authors gave them."""
    from diffusers import StableDiffusionPipeline
    from safetensors.torch import save_file

    held = StableDiffusionPipeline.from_pretrained(pipeline)
    unet, vae = held.unet, held.vae
    names = {f"model.diffusion_model.{_first_unet(key, unet)}": one for key, one in unet.state_dict().items()}
    for key, one in vae.state_dict().items():
        name = _first_vae(key, len(vae.config.block_out_channels))
        flat = ".mid.attn_1." in name and one.ndim == 2
        names[f"first_stage_model.{name}"] = one[:, :, None, None] if flat else one
    for key, one in held.text_encoder.state_dict().items():
        names[f"cond_stage_model.transformer.text_model.{key.removeprefix('text_model.')}"] = one
    save_file({key: one.contiguous() for key, one in names.items()}, file)
    return file


def _first_unet(key: str, unet: Any) -> str:
    each = unet.config.layers_per_block + 1
    attends = [hasattr(one, "attentions") for one in unet.up_blocks]
    renamed = {
        "time_embedding.linear_1.": "time_embed.0.", "time_embedding.linear_2.": "time_embed.2.",
        "conv_in.": "input_blocks.0.0.", "conv_norm_out.": "out.0.", "conv_out.": "out.2.",
        "mid_block.resnets.0.": "middle_block.0.", "mid_block.attentions.0.": "middle_block.1.",
        "mid_block.resnets.1.": "middle_block.2.",
    }  # fmt: skip
    for block, attention in enumerate(attends):
        for layer in range(each):
            down, up = f"input_blocks.{each * block + layer + 1}.", f"output_blocks.{each * block + layer}."
            renamed |= {f"down_blocks.{block}.resnets.{layer}.": f"{down}0."}
            renamed |= {f"down_blocks.{block}.attentions.{layer}.": f"{down}1."}
            renamed |= {f"up_blocks.{block}.resnets.{layer}.": f"{up}0."}
            renamed |= {f"up_blocks.{block}.attentions.{layer}.": f"{up}1."}
        renamed[f"down_blocks.{block}.downsamplers.0.conv."] = f"input_blocks.{each * (block + 1)}.0.op."
        renamed[f"up_blocks.{block}.upsamplers.0."] = f"output_blocks.{each * block + each - 1}.{1 + attention}."
    key = _renamed(key, renamed)
    inner = {
        "norm1.": "in_layers.0.", "conv1.": "in_layers.2.", "norm2.": "out_layers.0.", "conv2.": "out_layers.3.",
        "time_emb_proj.": "emb_layers.1.", "conv_shortcut.": "skip_connection.",
    }  # fmt: skip
    return key if "transformer_blocks" in key else _renamed(key, inner)


def _first_vae(key: str, blocks: int) -> str:
    renamed = {"mid_block.resnets.0.": "mid.block_1.", "mid_block.resnets.1.": "mid.block_2."}
    renamed |= {"mid_block.attentions.0.": "mid.attn_1.", "conv_norm_out.": "norm_out.", "to_out.0.": "proj_out."}
    renamed |= {"conv_shortcut.": "nin_shortcut.", "group_norm.": "norm.", "to_q.": "q.", "to_k.": "k.", "to_v.": "v."}
    for block in range(blocks):
        first = f"up.{blocks - 1 - block}."
        renamed |= {
            f"down_blocks.{block}.resnets.": f"down.{block}.block.",
            f"up_blocks.{block}.resnets.": f"{first}block.",
        }
        renamed |= {f"down_blocks.{block}.downsamplers.0.": f"down.{block}.downsample."}
        renamed |= {f"up_blocks.{block}.upsamplers.0.": f"{first}upsample."}
    return _renamed(key, renamed)


def _renamed(key: str, names: dict[str, str]) -> str:
    for theirs, first in names.items():
        at = key.find(theirs)
        if at == 0 or (at > 0 and key[at - 1] == "."):
            key = f"{key[:at]}{first}{key[at + len(theirs) :]}"
    return key
