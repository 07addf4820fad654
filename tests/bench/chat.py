"""Tokens a second of a chat, from question to last word, beside transformers' own `generate`.

Ours goes the whole way of a visitor's chat: the client, the pipe, the engine's process, the text in pieces. Theirs runs
in this process. Both have the starter's weights in the same precision and give the same text; taken in turns, medians.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from typing import Any

from backend import events as ev
from backend.engines.client import EngineProcess
from backend.engines.text import ChatParams
from backend.starter import MODEL_ID, locate

QUESTION = "Tell me a long story about a fox and a bear who share a winter in the mountains."
TOKENS = 96
REPEATS = 5
LIMIT = 0.95
WAYS = {
    "chat, greedy": {"temperature": 0.0},
    "chat, sampled": {"temperature": 0.7, "top_p": 0.95, "seed": 1},
}


def measure() -> list[dict[str, Any]]:
    engine = EngineProcess(dict(os.environ), preload=False)
    try:
        dtype = ask(engine, request({}))[2]
        plain = generator(dtype)
        return [compare(what, request(settings), engine, plain) for what, settings in WAYS.items()]
    finally:
        engine.stop()


def request(settings: dict[str, Any]) -> ChatParams:
    return ChatParams(messages=[{"role": "user", "content": QUESTION}], max_new_tokens=TOKENS, **settings)


def compare(
    what: str, params: ChatParams, engine: EngineProcess, plain: Callable[[ChatParams], tuple[str, float]]
) -> dict[str, Any]:
    ours, theirs = [], []
    for number in range(REPEATS + 1):
        (text, rate, _), (expected, comparison) = ask(engine, params), plain(params)
        assert text == expected, f"the engine wrote {text!r}, generate {expected!r}"
        if number:  # the first is warm-up
            ours.append(rate)
            theirs.append(comparison)
    figure, comparison = statistics.median(ours), statistics.median(theirs)
    print(f"{what}: {figure:.1f} tokens/s, generate {comparison:.1f}, ratio {figure / comparison:.2f}")
    return {
        "what": what,
        "figure": figure,
        "unit": "tokens/s",
        "against": "generate",
        "comparison": comparison,
        "ratio": figure / comparison,
        "requirement": f"≥ {LIMIT} ×",
        "passed": figure >= LIMIT * comparison,
    }


def ask(engine: EngineProcess, params: ChatParams) -> tuple[str, float, str]:
    """The engine's text, its tokens a second, its precision."""
    start, text, dtype = time.perf_counter(), "", ""
    for event in engine.stream("text", params.model_dump()):
        match event:
            case ev.Started():
                dtype = event.info["dtype"]
            case ev.Wrote():
                text += event.text
            case ev.Failed():
                raise RuntimeError(event.message)
            case ev.Finished():
                return text, event.values["tokens"] / (time.perf_counter() - start), dtype
    raise RuntimeError("the engine ended without a word")


def generator(dtype: str) -> Callable[[ChatParams], tuple[str, float]]:
    """A function that answers as the engine does, with plain transformers: text and tokens a second."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = locate(MODEL_ID)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=getattr(torch, dtype))
    model.to("cuda" if torch.cuda.is_available() else "cpu")

    def answer(params: ChatParams) -> tuple[str, float]:
        start = time.perf_counter()
        inputs = tokenizer.apply_chat_template(
            params.turns, add_generation_prompt=True, return_tensors="pt", return_dict=True
        ).to(model.device)
        draw = {"temperature": params.temperature, "top_p": params.top_p, "top_k": params.top_k}
        torch.manual_seed(params.seed)
        output = model.generate(
            **inputs,
            max_new_tokens=params.max_new_tokens,
            do_sample=params.temperature > 0,
            **(draw if params.temperature else {}),
        )
        new = output[0, inputs["input_ids"].shape[1] :]
        text = str(tokenizer.decode(new, skip_special_tokens=True))
        return text, len(new) / (time.perf_counter() - start)

    return answer
