"""Text that a model for one task writes: summary, translation, caption, transcript; word by word, and stoppable."""

from __future__ import annotations

import threading
from collections.abc import Generator
from typing import Any

from backend import events as ev
from backend.engines.tasks import CaptionParams, SpeechParams, SummarizeParams, TranslateParams
from backend.engines.tasks_models import Tool, picture, sound
from backend.errors import BadInput

Written = Generator[ev.Event, None, dict[str, Any]]
_PART = 28.0  # seconds of a recording heard at once; Whisper hears 30
_SEEK = 4.0  # seconds before its end in which the quietest moment is looked for


def written(tool: Tool, request: SummarizeParams | TranslateParams | CaptionParams) -> Written:
    """A summary or translation by an encoder-decoder, or a caption. Greedy."""
    how = "the model's own generation, greedy"
    if isinstance(request, CaptionParams):
        given = tool.eyes(images=picture(request.file), return_tensors="pt")
        text = yield from _generated(tool, dict(given), max_new_tokens=request.max_new_tokens)
        return {"text": text, "how": how}
    options: dict[str, Any] = {"max_new_tokens": request.max_new_tokens}
    given = tool.tokenizer(_prefixed(tool, request, options), truncation=True, max_length=1024, return_tensors="pt")
    given = {name: given[name] for name in ("input_ids", "attention_mask")}
    text = yield from _generated(tool, given, **options)
    return {"text": text, "how": how}


def _prefixed(tool: Tool, request: SummarizeParams | TranslateParams, options: dict[str, Any]) -> str:
    """The text as the model's family wants it: T5 by a prefix, multilingual ones by the target's token."""
    own = getattr(tool.model.config, "task_specific_params", None) or {}
    if isinstance(request, SummarizeParams):
        prefix = (own.get("summarization") or {}).get("prefix", "")
        return f"{prefix}{request.text}"
    if tool.model.config.model_type in ("t5", "umt5", "mt5"):
        return f"translate {request.source} to {request.target}: {request.text}"
    codes = getattr(tool.tokenizer, "lang_code_to_id", None)
    if codes:
        found = next((code for code in codes if code.lower().startswith(request.target.lower()[:2])), None)
        if found is None:
            raise BadInput(f"{tool.name} has no language {request.target!r}.", f"Use one of {', '.join(codes)}.")
        options["forced_bos_token_id"] = codes[found]
    return request.text


def heard(tool: Tool, request: SpeechParams) -> Written:
    """A transcript, in parts of half a minute at most, cut where it is quietest."""
    import torch

    rate = int(getattr(tool.ears, "sampling_rate", 16_000))
    samples = sound(request.file, rate)
    said: list[str] = []
    for part in _parts(samples, rate):
        given = tool.ears(part, sampling_rate=rate, return_tensors="pt")
        if "CTC" in type(tool.model).__name__:
            with torch.inference_mode():
                ids = tool.model(given["input_values"].to(tool.model.device)).logits.argmax(dim=-1)
            text = str(tool.tokenizer.decode(ids[0]))
            yield ev.Wrote(text=(" " if said else "") + text)
        else:
            if said:
                yield ev.Wrote(text=" ")
            text = yield from _generated(tool, dict(given), max_new_tokens=min(440, _room(tool)))
        said.append(text.strip())
        yield ev.Progressed(
            done=min(len(samples), len(said) * _PART * rate) / rate, total=len(samples) / rate, unit="s"
        )
    return {"text": " ".join(part for part in said if part), "how": "the model's own generation, greedy"}


def _room(tool: Tool) -> int:
    """Tokens that a speech model's decoder writes at most, less the few it begins with."""
    return int(getattr(tool.model.config, "max_target_positions", None) or 448) - 8


def _parts(samples: Any, rate: int) -> Generator[Any, None, None]:
    import numpy as np  # noqa: PLC0415 - the worker starts without

    frame = rate // 20
    while len(samples) > (_PART + 2) * rate:
        begin, end = int((_PART - _SEEK) * rate), int(_PART * rate)
        loud = np.abs(samples[begin:end]).reshape(-1, frame).mean(axis=1)
        cut = begin + int(loud.argmin()) * frame + frame // 2
        yield samples[:cut]
        samples = samples[cut:]
    yield samples


def _generated(tool: Tool, given: dict[str, Any], **options: Any) -> Generator[ev.Event, None, str]:
    """`generate` in a thread, its text as Wrote. Closing the iterator ends the thread within a step."""
    import torch
    from transformers import StoppingCriteria, StoppingCriteriaList, TextIteratorStreamer

    closed = threading.Event()

    class Closed(StoppingCriteria):
        def __call__(self, ids: Any, scores: Any, **_: Any) -> Any:
            return torch.full((ids.shape[0],), closed.is_set(), dtype=torch.bool, device=ids.device)

    streamer = TextIteratorStreamer(tool.tokenizer, skip_special_tokens=True)
    failed: list[Exception] = []
    inputs = {
        key: value.to(tool.model.device, tool.model.dtype if value.is_floating_point() else value.dtype)
        for key, value in given.items()
    }

    def run() -> None:
        try:
            tool.model.generate(
                **inputs, do_sample=False, num_beams=1, streamer=streamer,
                stopping_criteria=StoppingCriteriaList([Closed()]), **options,
            )  # fmt: skip
        except Exception as error:
            failed.append(error)
            streamer.end()

    thread = threading.Thread(target=run, daemon=True, name="generate")
    thread.start()
    text = ""
    try:
        for piece in streamer:
            text += piece
            yield ev.Wrote(text=piece)
    finally:
        closed.set()
        thread.join()
    if failed:
        raise failed[0]
    return text.strip()
