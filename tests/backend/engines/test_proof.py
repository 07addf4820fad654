from __future__ import annotations

from pathlib import Path

import pytest

from backend.engines import proof
from backend.engines.text import TextEngine


def test_the_starter_is_packed_and_nearer_to_float32_than_bf16_is(starter: Path) -> None:
    """On the probe, and on an answer of its own, token by token."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(starter)
    half = AutoModelForCausalLM.from_pretrained(starter, dtype=torch.bfloat16).eval()
    whole = AutoModelForCausalLM.from_pretrained(starter, dtype=torch.float32).eval()
    packed, why = proof.lean(half, tokenizer)
    assert why == ""
    assert packed is not None
    turns = [{"role": "user", "content": "What do bees do in winter?"}]
    prompt = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    text = whole.generate(**prompt, max_new_tokens=60, do_sample=False)[0]
    for tokens in (proof.probe(tokenizer), text):
        with torch.inference_mode():
            expected, usual = (model(tokens[None]).logits[0].float().log_softmax(-1) for model in (whole, half))
            given = packed.read(tokens, packed.cache(1), None, last=len(tokens)).log_softmax(-1)
        far, bf16 = ((expected.exp() * (expected - other)).sum(-1).mean() for other in (given, usual))
        assert 0 < float(far) < 2 * float(bf16) < 0.005
        assert float((given.argmax(-1) == expected.argmax(-1)).float().mean()) > 0.96


def test_what_says_something_else_stays_plain(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TextEngine()
    engine.load(str(tiny))
    voice = engine.shelf._bases[str(tiny)].voices[""]
    assert (voice.path, voice.why_plain) == ("plain", "it is small")
    monkeypatch.setattr(proof, "SMALL", 0)
    assert proof.lean(voice.model, voice.words.tokenizer, 1e8) == (
        None,
        "packing it takes 0.5 GB of memory, and 0.1 GB are free",
    )
    monkeypatch.setattr(proof, "FAR", -1.0)
    packed, why = proof.lean(voice.model, voice.words.tokenizer)
    assert packed is None
    assert why.startswith("the packed weights say something else")
