"""Whether a model answers by the lean pass: it must fit, say what transformers' own modules say, and be quicker."""

from __future__ import annotations

import math
import time
from typing import Any

from backend.engines.lean import Adapter, Lean, Row, why_not

SMALL = 10_000_000  # weights; below, any way is quick
FAR = 0.02  # nats from the plain scores, in the mean: bf16 arithmetic itself is about 0.001 away from float32
_TEXT = (
    "The quick brown fox jumps over the lazy dog. In 1969, two people walked on the Moon; 384,400 km from home.\n"
    "def add(a, b):\n    return a + b  # sum\nLa vie est belle, n'est-ce pas? 你好，世界。"
)
_LENGTH = 64  # tokens of it
_TIMES = 3
_PACKED = 1.5  # bytes of a weight that packing may take, at most
_BESIDE = 500_000_000  # bytes for what is made on the way


def lean(model: Any, tokenizer: Any, room: float = math.inf) -> tuple[Lean | None, str]:
    """The packed model, or None and why not. `room` is how many bytes are free for it."""
    if reason := why_not(model):
        return None, reason
    if model.num_parameters() < SMALL:
        return None, "it is small"
    if (need := model.num_parameters() * _PACKED + _BESIDE) > room:
        return None, f"packing it takes {need / 1e9:.1f} GB of memory, and {room / 1e9:.1f} GB are free"
    packed = Lean(model)
    tokens = probe(tokenizer)
    distance = apart(packed, None, model, tokens)
    if not distance <= FAR:
        return None, f"the packed weights say something else: {distance:.3f} nats away"
    packed_time, plain_time = _seconds(packed, model, tokens)
    if packed_time > plain_time:
        return None, f"packed weights are slower here: {packed_time * 1e3:.0f} ms a token, {plain_time * 1e3:.0f} plain"
    return packed, ""


def probe(tokenizer: Any) -> Any:
    """The tokens [n] on which both ways are tried."""
    import torch

    return torch.tensor(tokenizer(_TEXT, add_special_tokens=False)["input_ids"][:_LENGTH])


def apart(packed: Lean, adapter: Adapter | None, model: Any, tokens: Any) -> float:
    """How far the packed chances of each next token are from the plain: mean Kullback–Leibler divergence, in nats."""
    import torch

    with torch.inference_mode():
        plain = model(input_ids=tokens[None], use_cache=False).logits[0].float().log_softmax(dim=-1)
        quick = packed.read(tokens, packed.cache(len(tokens)), adapter, last=len(tokens)).log_softmax(dim=-1)
        return float((plain.exp() * (plain - quick)).sum(dim=-1).mean())


def _seconds(packed: Lean, model: Any, tokens: Any) -> tuple[float, float]:
    """The quickest step of one token, packed and plain."""
    import torch

    packed_times, plain_times = [], []
    cache = packed.cache(len(tokens) + _TIMES)
    with torch.inference_mode():
        packed.read(tokens, cache, None)
        for _ in range(_TIMES):
            began = time.perf_counter()
            packed.step([Row(0, cache, None)])
            between = time.perf_counter()
            model(input_ids=tokens[None, :1], use_cache=False)
            packed_times.append(between - began)
            plain_times.append(time.perf_counter() - between)
    return min(packed_times), min(plain_times)
