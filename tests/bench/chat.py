"""Tokens a second of one chat, from question to last word, beside llama.cpp and transformers' own `generate`.

Ours goes the whole way of a visitor's chat: the client, the pipe, the engine's process, the text in pieces. llama.cpp
has the file that the starter's weights come from, in a process of its own; `generate` runs in this one. What we call
exact gives the text of `generate`; the packed way is checked by tests. Taken in turns, medians.
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
from tests.bench.llama import LlamaCpp

QUESTION = "Tell me a long story about a fox and a bear who share a winter in the mountains."
TOKENS = 96
REPEATS = 5
LOAD_SECONDS = 2.0
WAYS: dict[str, dict[str, Any]] = {
    "chat, greedy": {"temperature": 0.0},
    "chat, sampled": {"temperature": 0.7, "top_p": 0.95, "seed": 1},
    "chat, greedy, exact": {"temperature": 0.0, "exact": True},
}
EXACT_LIMIT = 0.95


def measure() -> list[dict[str, Any]]:
    engine = EngineProcess(dict(os.environ), preload=False)
    try:
        seconds = load(engine)
        dtype = ask(engine, request({"exact": True}))[2]
        plain = generator(dtype)
        rows = [beside_llama(engine)]
        rows += [compare(what, request(settings), engine, plain) for what, settings in WAYS.items()]
        rows.append(
            {
                "what": "loading the starter, packing included",
                "figure": seconds,
                "unit": "s",
                "requirement": f"≤ {LOAD_SECONDS:g} s",
                "passed": seconds <= LOAD_SECONDS,
            }
        )
        return rows
    finally:
        engine.stop()


def load(engine: EngineProcess) -> float:
    """Seconds to have the starter in memory, once the process is there."""
    engine.start()
    while not engine.info:
        time.sleep(0.05)
    began = time.perf_counter()
    *_, last = engine.load(MODEL_ID)
    assert isinstance(last, ev.Finished), last
    return time.perf_counter() - began


def request(settings: dict[str, Any]) -> ChatParams:
    return ChatParams(messages=[{"role": "user", "content": QUESTION}], max_new_tokens=TOKENS, **settings)


def beside_llama(engine: EngineProcess) -> dict[str, Any]:
    ours, theirs = [], []
    params = request({"temperature": 0.0})
    with LlamaCpp(1) as llama:
        for number in range(REPEATS + 1):
            rate, comparison = ask(engine, params)[1], llama.ask([QUESTION], TOKENS)[0]
            if number:  # the first is warm-up
                ours.append(rate)
                theirs.append(comparison)
    return row("chat, greedy", ours, "llama.cpp", theirs, 1.0)


def compare(
    what: str, params: ChatParams, engine: EngineProcess, plain: Callable[[ChatParams], tuple[str, float]]
) -> dict[str, Any]:
    ours, theirs = [], []
    for number in range(REPEATS + 1):
        (text, rate, _), (expected, comparison) = ask(engine, params), plain(params)
        assert not params.exact or text == expected, f"the engine wrote {text!r}, generate {expected!r}"
        if number:
            ours.append(rate)
            theirs.append(comparison)
    return row(what, ours, "generate", theirs, EXACT_LIMIT if params.exact else 1.0)


def row(what: str, ours: list[float], against: str, theirs: list[float], limit: float) -> dict[str, Any]:
    figure, comparison = statistics.median(ours), statistics.median(theirs)
    print(f"{what}: {figure:.1f} tokens/s, {against} {comparison:.1f}, ratio {figure / comparison:.2f}", flush=True)
    return {
        "what": what,
        "figure": figure,
        "unit": "tokens/s",
        "against": against,
        "comparison": comparison,
        "ratio": figure / comparison,
        "requirement": f"≥ {limit} ×",
        "passed": figure >= limit * comparison,
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
