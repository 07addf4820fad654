"""A llama-family model as one GGUF file, which llama.cpp, Ollama and LM Studio open, and transformers too.

Names and layout are GGUF's own (github.com/ggml-org/ggml/blob/master/docs/gguf.md), written by its package `gguf`.
Rotary embeddings pair neighbouring numbers in GGUF's llama, halves in transformers: rows of q and k are reordered.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from backend.errors import BadInput

if TYPE_CHECKING:
    from numpy import ndarray
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Kind = Literal["f32", "f16", "q8_0"]
FAMILY = {"llama": "LLAMA", "mistral": "LLAMA", "qwen2": "QWEN2"}  # transformers' model_type → gguf's architecture
_BLOCK = 32  # numbers that share a scale in q8_0


def check(config: dict[str, Any]) -> None:
    """Raises BadInput for a model (its config.json) that can't be written."""
    kind = str(config.get("model_type", ""))
    if kind not in FAMILY:
        raise BadInput(
            f"The model is of the kind {kind!r}; GGUF is written for {', '.join(FAMILY)}.",
            "Merge it to safetensors instead.",
            "gguf.family",
        )
    scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
    if str(scaling.get("rope_type", scaling.get("type", "default"))) != "default":
        raise BadInput(
            f"The model stretches its positions ({scaling.get('rope_type')}), which is not written here.",
            "Merge it to safetensors, and convert that with llama.cpp's own script.",
            "gguf.rope",
        )


def write(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, place: Path, kind: Kind, name: str) -> None:
    """Write `model` to the file `place`. Matrices are stored as `kind`, vectors as fp32. Raises BadInput."""
    import gguf
    import numpy as np

    config = model.config.to_dict()
    check(config)
    architecture = gguf.MODEL_ARCH[FAMILY[config["model_type"]]]
    writer = gguf.GGUFWriter(place, gguf.MODEL_ARCH_NAMES[architecture])
    _describe(writer, config, kind, name)
    _speak(writer, tokenizer)
    names = gguf.get_tensor_name_map(architecture, config["num_hidden_layers"])
    tied = bool(config.get("tie_word_embeddings"))
    for key, weight in model.state_dict().items():
        if (tied and key == "lm_head.weight") or key.endswith("rotary_emb.inv_freq"):
            continue
        called = names.get_name(key, try_suffixes=(".weight", ".bias"))
        if called is None:
            raise BadInput(f"The weights have {key!r}, for which GGUF has no name.", "Merge it to safetensors instead.")
        values = weight.detach().float().cpu().numpy()
        if config["model_type"] != "qwen2":
            values = _paired(key, values, config)
        if values.ndim < 2 or kind == "f32":
            writer.add_tensor(called, values)
        elif kind == "q8_0" and values.shape[-1] % _BLOCK == 0:
            packed = gguf.quants.quantize(values, gguf.GGMLQuantizationType.Q8_0)
            writer.add_tensor(called, packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            writer.add_tensor(called, values.astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _describe(writer: Any, config: dict[str, Any], kind: Kind, name: str) -> None:
    import gguf

    heads = config["num_attention_heads"]
    writer.add_name(name)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config.get("head_dim") or config["hidden_size"] // heads)
    rope = config.get("rope_parameters") or {}
    writer.add_rope_freq_base(float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0))
    writer.add_vocab_size(config["vocab_size"])
    kinds = {"f32": gguf.LlamaFileType.ALL_F32, "f16": gguf.LlamaFileType.MOSTLY_F16}
    writer.add_file_type(kinds.get(kind, gguf.LlamaFileType.MOSTLY_Q8_0))


def _speak(writer: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Tokens, merges, special ones, chat template. Raises BadInput for a tokenizer that is not byte-level BPE."""
    import gguf

    whole = json.loads(tokenizer.backend_tokenizer.to_str()) if tokenizer.is_fast else {}
    first = json.dumps(whole.get("pre_tokenizer"))
    if whole.get("model", {}).get("type") != "BPE" or "ByteLevel" not in first:
        raise BadInput(
            "The tokenizer is not byte-level BPE, which is what is written here.", "Merge it to safetensors instead."
        )
    added = {int(one["id"]): bool(one["special"]) for one in whole["added_tokens"]}
    spelled = {number: token for token, number in tokenizer.get_vocab().items()}
    size = max(spelled) + 1
    kinds = {True: gguf.TokenType.CONTROL, False: gguf.TokenType.USER_DEFINED}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_splitting(first))
    writer.add_token_list([spelled.get(number, f"[PAD{number}]") for number in range(size)])
    writer.add_token_types(
        [
            kinds[added[n]] if n in added else gguf.TokenType.NORMAL if n in spelled else gguf.TokenType.UNUSED
            for n in range(size)
        ]
    )
    merges = whole["model"]["merges"]
    writer.add_token_merges([one if isinstance(one, str) else " ".join(one) for one in merges])
    for number, add in (
        (tokenizer.bos_token_id, writer.add_bos_token_id),
        (tokenizer.eos_token_id, writer.add_eos_token_id),
        (tokenizer.pad_token_id, writer.add_pad_token_id),
    ):
        if number is not None:
            add(number)
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)


def _splitting(first: str) -> str:
    """llama.cpp's name for how text is cut before it is joined to tokens, going by the tokenizer's own description."""
    if "Digits" in first:
        return "smollm"
    if "{1,3}" in first:
        return "llama-bpe"
    return "qwen2" if "\\\\p{N}" in first else "gpt-2"


def _paired(key: str, values: ndarray, config: dict[str, Any]) -> ndarray:
    """Rows of a query or key matrix in GGUF's order: number i of a head's second half follows i of its first."""
    heads = config["num_attention_heads"]
    if "k_proj" in key:
        heads = config.get("num_key_value_heads") or heads
    elif "q_proj" not in key:
        return values
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    ordered: ndarray = halves.swapaxes(1, 2).reshape(values.shape)
    return ordered
