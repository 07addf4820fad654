"""The lean pass gives what transformers' own modules give, up to the packed weights, and never depends on company."""

from __future__ import annotations

from typing import Any

import pytest

from backend.engines.lean import Lean, Row, why_not

SIZES: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 4096,
}
ROPE = {"rope_theta": 10000.0}
FAMILY: dict[str, dict[str, Any]] = {
    "Llama": {},
    "Llama, tied": {"tie_word_embeddings": True},
    "Llama, stretched": {
        "rope_parameters": ROPE
        | {
            "rope_type": "llama3",
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 512,
        }
    },
    "Mistral": {"sliding_window": None},
    "Qwen2": {},
    "Qwen3": {"head_dim": 32},
}


def model(name: str, **settings: Any) -> Any:
    """A random model of the family whose scores differ as a trained one's do."""
    import torch
    import transformers

    kind = name.partition(",")[0]
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**SIZES | FAMILY.get(name, {}) | settings)
    made = getattr(transformers, f"{kind}ForCausalLM")(config).eval().requires_grad_(False)
    for parameter in made.parameters():
        if parameter.ndim == 1:
            parameter.copy_(torch.rand_like(parameter) + 0.5)
        else:
            parameter.normal_(std=0.15)
    return made


@pytest.mark.parametrize("name", FAMILY)
def test_the_family_says_what_transformers_says(name: str) -> None:
    """Over a prompt read in two pieces and steps after it: about as near to float32 as bf16 comes."""
    import torch

    plain = model(name)
    assert why_not(plain) == ""
    tokens = torch.arange(1, 61) * 37 % 300
    with torch.inference_mode():
        expected = plain(tokens[None]).logits[0]
        lean = Lean(plain)
        cache = lean.cache(16)
        scores = [lean.read(tokens[:20], cache, None), lean.read(tokens[20:40], cache, None, last=20)]
        scores += [lean.step([Row(int(token), cache, None)]) for token in tokens[40:]]
        given = torch.cat(scores)
        half = plain.to(torch.bfloat16)(tokens[None]).logits[0].float()
    error, usual = (float((scores - expected[19:]).std() / expected.std()) for scores in (given, half[19:]))
    assert 0 < error < 2 * usual < 0.1
    assert (cache.length, lean.bits) == (60, 8)


@pytest.mark.parametrize(
    ("kind", "settings", "reason"),
    [
        ("GPT2", {}, "GPT2LMHeadModel is not of the Llama family"),
        ("Mistral", {"sliding_window": 128}, "sliding window"),
        ("Qwen2", {"use_sliding_window": True, "sliding_window": 128, "max_window_layers": 1}, "sliding window"),
        ("Llama", {"hidden_act": "gelu"}, "activation is gelu"),
        ("Llama", {"mlp_bias": True}, "biases"),
        ("Llama", {"hidden_size": 48}, "can't be packed"),
        ("Llama", {"rope_parameters": ROPE | {"rope_type": "dynamic", "factor": 2.0}}, "positions are of the kind"),
    ],
)
def test_what_it_can_not_run_it_refuses(kind: str, settings: dict[str, Any], reason: str) -> None:
    import transformers

    if kind == "GPT2":
        made = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_layer=1, n_head=2, n_embd=64, vocab_size=99))
    else:
        made = model(kind, **settings)
    assert reason in why_not(made)


def test_no_bit_depends_on_company_or_on_how_a_prompt_is_cut() -> None:
    import torch

    with torch.inference_mode():
        lean = Lean(model("Llama"))
        tokens = torch.arange(1, 700) * 37 % 300
        alone, pieces = lean.cache(1), lean.cache(800)
        first = lean.read(tokens, alone, None)
        for start in range(0, 699, 128):
            second = lean.read(tokens[start : start + 128], pieces, None)
        assert torch.equal(first, second)
        others = [lean.cache(1) for _ in range(9)]
        for number, cache in enumerate(others):
            lean.read(tokens[: 1 + 60 * number], cache, None)
        for token in range(70):  # beyond the caches' first room
            expected = lean.step([Row(token, alone, None)])
            rows = [Row(token * 3, cache, None) for cache in others]
            found = lean.step([*rows[:4], Row(token, pieces, None), *rows[4:]])
            assert torch.equal(found[4:5], expected), token
