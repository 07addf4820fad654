"""Models of a few thousand weights, one for each kind of task: random, so what they say means nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WORDS = (
    "the", "a", "capital", "of", "france", "is", "paris", "ada", "met", "charles", "in", "london", "cat", "sleeps",
    "good", "bad", "film", "i", "liked", "it", "where", "who",
)  # fmt: skip
SMALL: dict[str, Any] = {
    "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
    "max_position_embeddings": 96,
}  # fmt: skip


def tokenizer(folder: Path) -> int:
    """Write a lower-case WordPiece tokenizer of words and letters; the size of its vocabulary."""
    from transformers import BertTokenizer

    letters = [chr(code) for code in range(97, 123)]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters, *(f"##{one}" for one in letters), *".,?-"]
    tokens = list(dict.fromkeys(tokens))
    BertTokenizer(vocab={token: index for index, token in enumerate(tokens)}, model_max_length=96).save_pretrained(
        folder
    )
    return len(tokens)


def tiny_task_model(kind: str, folder: Path) -> Path:
    """A model of `kind`, as backend.engines.tasks names them, in `folder`; always the same."""
    import torch
    import transformers as tr

    labels = {"nli": ["contradiction", "neutral", "entailment"], "token": ["O", "B-PER", "B-LOC"]}
    names = labels.get(kind, ["bad", "good"])
    named = {"id2label": dict(enumerate(names)), "label2id": {name: index for index, name in enumerate(names)}}
    state = torch.random.get_rng_state()
    torch.manual_seed(0)
    model: Any
    if kind in ("sequence", "nli", "token", "span", "mask", "embed"):
        config = tr.BertConfig(vocab_size=tokenizer(folder), **SMALL, **named)
        made = {"sequence": tr.BertForSequenceClassification, "nli": tr.BertForSequenceClassification,
                "token": tr.BertForTokenClassification, "span": tr.BertForQuestionAnswering,
                "mask": tr.BertForMaskedLM, "embed": tr.BertModel}  # fmt: skip
        model = made[kind](config)
    elif kind == "seq2seq":
        size = tokenizer(folder)
        model = tr.T5ForConditionalGeneration(
            tr.T5Config(
                vocab_size=size, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0
            )
        )
    elif kind == "image":
        model = tr.ViTForImageClassification(tr.ViTConfig(**_eyes(folder), **named))
    elif kind == "caption":
        size = tokenizer(folder)
        words = tr.BertConfig(vocab_size=size, is_decoder=True, add_cross_attention=True, **SMALL)
        seen = tr.ViTConfig(**_eyes(folder))
        joined = tr.VisionEncoderDecoderConfig.from_encoder_decoder_configs(seen, words)
        joined.decoder_start_token_id, joined.pad_token_id, joined.eos_token_id = 2, 0, 3
        model = tr.VisionEncoderDecoderModel(joined)
        model.generation_config = tr.GenerationConfig(decoder_start_token_id=2, pad_token_id=0, eos_token_id=3)
    elif kind == "speech":
        size = tokenizer(folder)
        tr.Wav2Vec2FeatureExtractor(sampling_rate=16_000).save_pretrained(folder)
        model = tr.Wav2Vec2ForCTC(
            tr.Wav2Vec2Config(
                vocab_size=size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
                conv_dim=(8, 8), conv_stride=(80, 4), conv_kernel=(80, 4), num_conv_pos_embeddings=4,
                num_conv_pos_embedding_groups=2, pad_token_id=0,
            )
        )  # fmt: skip
    else:
        raise ValueError(kind)
    torch.random.set_rng_state(state)
    model.save_pretrained(folder)
    return folder


def _eyes(folder: Path) -> dict[str, Any]:
    """Write an image processor for 32×32 pixels; the matching fields of a ViT's config."""
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return {**SMALL, "image_size": 32, "patch_size": 16}
