"""What the image starter is made of: autoencoder, text encoder, tokenizer, denoiser, and the pipeline of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

WORDS = 24  # tokens of a prompt
LATENT = 8  # channels of a latent, which is 16×16
SHARD = "9MB"  # of a file of weights, so that any git host takes it


def autoencoder() -> Any:
    """64×64 ↔ 16×16×8, convolutions alone."""
    from diffusers import AutoencoderTiny

    return AutoencoderTiny(
        encoder_block_out_channels=(32, 32, 32),
        decoder_block_out_channels=(32, 32, 32),
        num_encoder_blocks=(0, 3, 6),
        num_decoder_blocks=(6, 3, 0),
        latent_channels=LATENT,
    )


def denoiser() -> Any:
    """The UNet over latents: it reads the prompt by cross-attention, and a summary of it scales and shifts each block.

    Cross-attention alone had learned colours and grounds after 80,000 pictures, and hardly a shape.
    """
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=16,
        in_channels=LATENT,
        out_channels=LATENT,
        block_out_channels=(64, 192, 256),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=(4, 4, 4),
        cross_attention_dim=256,
        norm_num_groups=16,
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        time_embedding_dim=384,
        resnet_time_scale_shift="scale_shift",
    )


def text_encoder(vocabulary: int, end: int) -> Any:
    """A small transformer that reads a prompt, in CLIP's form."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=256,
            intermediate_size=768,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=WORDS,
            projection_dim=256,
            bos_token_id=end - 1,
            eos_token_id=end,
            pad_token_id=end,
        )
    )


def tokenizer(texts: Iterable[str], folder: Path) -> Any:
    """A byte-pair tokenizer of CLIP's kind over the words of `texts`, kept in `folder`; what is there is taken."""
    import json

    if (folder / "tokenizer.json").exists():
        from transformers import CLIPTokenizer

        return CLIPTokenizer.from_pretrained(folder)
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    from transformers import CLIPTokenizer

    raw = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>"))
    raw.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4000,
        special_tokens=[],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    raw.train_from_iterator(texts, trainer)
    model = json.loads(raw.to_str())["model"]
    vocabulary = model["vocab"]
    for letter in sorted(pre_tokenizers.ByteLevel.alphabet()):  # any word can be spelt, if only byte by byte
        for piece in (letter, letter + "</w>"):
            vocabulary.setdefault(piece, len(vocabulary))
    for special in ("<|startoftext|>", "<|endoftext|>"):
        vocabulary[special] = len(vocabulary)
    merges = [tuple(pair) for pair in model["merges"]]
    made = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=WORDS)
    made.save_pretrained(folder)
    return made


def scheduler() -> Any:
    """Ends in pure noise, so that a plain ground in any colour can be drawn."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        steps_offset=1,  # unused by this spacing; the pipeline wants it
        clip_sample=False,
        set_alpha_to_one=True,
    )


def assemble(folder: Path, vae: Any, scale: float, words: Any, net: Any) -> Path:
    """The pipeline in `folder`, as diffusers reads it, in half precision and files under 10 MB."""
    import torch
    from diffusers import StableDiffusionPipeline

    vae.register_to_config(scaling_factor=scale, _name_or_path="")  # no path of the machine it was trained on
    pipeline = StableDiffusionPipeline(
        vae=vae,
        text_encoder=net["text"],
        tokenizer=words,
        unet=net["unet"],
        scheduler=scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(dtype=torch.float16).save_pretrained(folder, max_shard_size=SHARD)
    return folder
