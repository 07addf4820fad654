"""The converted model is the official one in all but its weights' last digits."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from backend.starter import verify

SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def test_the_folder_is_whole(starter: Path) -> None:
    assert verify(starter.parent) == []


def test_the_shared_embedding_is_stored_once(starter: Path) -> None:
    with (starter / "model.safetensors").open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    assert "lm_head.weight" not in header
    assert header["model.embed_tokens.weight"]["shape"] == [49152, 576]
    assert {entry["dtype"] for name, entry in header.items() if name != "__metadata__"} == {"BF16"}
    config = json.loads((starter / "config.json").read_text())
    assert config["tie_word_embeddings"] is True
    assert config["rms_norm_eps"] == 1e-5
    assert config["max_position_embeddings"] == 8192


def test_the_tokenizer_is_the_official_one(starter: Path) -> None:
    from transformers import AutoTokenizer, GenerationConfig

    tokenizer = AutoTokenizer.from_pretrained(starter)
    assert (tokenizer.eos_token, tokenizer.eos_token_id) == ("<|im_end|>", 2)
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("<|im_end|>", 2)
    assert (tokenizer.bos_token, tokenizer.bos_token_id) == ("<|im_start|>", 1)
    assert (tokenizer.unk_token, tokenizer.unk_token_id) == ("<|endoftext|>", 0)
    assert tokenizer.tokenize("a\n    42") == ["a", "ĊĠĠĠĠ", "4", "2"], "digits are split off before spaces are"
    assert tokenizer.model_max_length == 8192
    assert tokenizer.tokenize("In 1997, 25 cats") == ["In", "Ġ", "1", "9", "9", "7", ",", "Ġ", "2", "5", "Ġcats"]
    assert tokenizer("hi")["input_ids"] == tokenizer("hi", add_special_tokens=False)["input_ids"]
    text = "Zwölf Boxkämpfer; 12 × 3 = 36\n\tif x:  # 🙂"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
    generation = GenerationConfig.from_pretrained(starter)
    assert (generation.eos_token_id, generation.pad_token_id, generation.bos_token_id) == (2, 2, 1)


@pytest.mark.parametrize("own", [False, True])
def test_the_chat_template_is_the_official_one(starter: Path, own: bool) -> None:
    from transformers import AutoTokenizer

    messages = [{"role": "system", "content": "Be brief."}] if own else []
    messages.append({"role": "user", "content": "Hello"})
    text = AutoTokenizer.from_pretrained(starter).apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True
    )
    system = "Be brief." if own else SYSTEM
    assert text == f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"


def test_it_answers(starter: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(starter)
    model = AutoModelForCausalLM.from_pretrained(starter)
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**prompt, max_new_tokens=20, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(answer)
    assert answer[-1] == tokenizer.eos_token_id
