"""Answers tasks: through transformers' pipelines, and directly with the models where it dropped the pipeline.

Pipelines: text-classification, zero-shot-classification (with a model that tells whether one text follows from
another), token-classification, fill-mask, image-classification. Directly: question-answering, summarization,
translation, image-to-text, and speech, so that it can be stopped. A chat model does some tasks by being asked.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, cast

from backend import events as ev
from backend.engines import tasks as t
from backend.engines.model_files import Say, silent
from backend.engines.tasks_generate import heard, written
from backend.engines.tasks_models import Tool, Toolbox, picture
from backend.engines.tasks_script import asked
from backend.engines.text import Answer, TextEngine
from backend.errors import BadInput

_CHANNEL_TOKENS = 512  # of a text whose likelihood is asked for


class TaskEngine:
    """One task, by the name in TASKS. `apart` answers compute in long steps, so they want a thread of their own."""

    def __init__(self, task: str, text: TextEngine, tools: Toolbox) -> None:
        self._task = task
        self._text = text
        self._tools = tools

    def load(self, model: str, adapter: str | None = None, say: Say = silent) -> None:
        """Have the model in memory. Raises NotFound, Gated, HubError, NoRoom, BadInput."""
        if self._tools.kind(model, self._task, say) == "causal":
            self._text.load(model, None, say)
        else:
            self._tools.load(model, say)

    def ready(self, request: t.TaskParams) -> bool:
        """Never at once: whether the model fits the task is looked up where nobody waits."""
        return False

    def prepare(self, request: t.TaskParams, say: Say = silent) -> None:
        """Load what `request` needs. Raises what `load` raises."""
        self.load(request.model, None, say)

    def apart(self, request: t.TaskParams) -> bool:
        """Whether the answer is to be computed beside the others; a chat model's goes step by step among them."""
        return self._kind(request) != "causal" or isinstance(request, t.ZeroShotParams)

    def stream(self, request: t.TaskParams) -> Answer:
        """Started, Wrote for text as it is written, and Finished, whose values are the result.

        They hold `labels` [{label, score}], `entities` [{label, text, start, end, score}], `text`, `answer` with
        `start`, `end` and `score`, or `texts` with `matrix` or `vectors`; and `how` it was done, and `seconds`.
        Raises BadInput, and what `load` raises.
        """
        began = time.perf_counter()
        if self._kind(request) != "causal":
            with self._tools.use(request.model) as tool:
                yield ev.Started(info=tool.about)
                result = yield from _by_tool(tool, request)
        elif isinstance(request, t.ZeroShotParams):
            with self._text.shelf.use(request.model) as voice:
                yield ev.Started(info={"model": request.model, "device": voice.device, "dtype": voice.dtype})
                result = {"labels": _likeliest(voice.model, voice.words.tokenizer, request)}
                result["how"] = "how likely the model finds the text after each label's sentence"
        else:
            result = yield from self._asked(request)
        yield ev.Finished(reason="stop", values=result | {"seconds": round(time.perf_counter() - began, 3)})

    def _kind(self, request: t.TaskParams) -> str:
        return self._tools.kind(request.model, self._task)

    def _asked(self, request: t.TaskParams) -> Generator[ev.Event, None, dict[str, Any]]:
        """What a chat model says when it is asked to do the task."""
        words, name = [], "answer" if isinstance(request, t.QuestionParams) else "text"
        for event in self._text.stream(asked(request)):
            if isinstance(event, ev.Wrote):
                words.append(event.text)
            if isinstance(event, ev.Finished):
                break
            yield event
        how = "a chat model's answer to a prompt"
        if isinstance(request, t.TranslateParams):
            how += "; small ones know little but English"
        return {name: "".join(words).strip(), "how": how}


def _by_tool(tool: Tool, request: t.TaskParams) -> Generator[ev.Event, None, dict[str, Any]]:
    if isinstance(request, t.SummarizeParams | t.TranslateParams | t.CaptionParams):
        return (yield from written(tool, request))
    if isinstance(request, t.SpeechParams):
        return (yield from heard(tool, request))
    return _AT_ONCE[type(request)](tool, request)


def _classify(tool: Tool, request: t.ClassifyParams) -> dict[str, Any]:
    found = _pipeline("text-classification", tool)(request.text, top_k=request.top_k, truncation=True)
    return {"labels": _plain(found), "how": "transformers' text-classification pipeline"}


def _zero_shot(tool: Tool, request: t.ZeroShotParams) -> dict[str, Any]:
    if tool.kind == "embed":
        vectors = embed(tool, [request.text, *(request.hypothesis.format(label) for label in request.labels)])
        scores = vectors[1:] @ vectors[0]
        pairs = zip(request.labels, scores.tolist(), strict=True)
        how = "cosine similarity of the text and each label's sentence"
    else:
        found = _pipeline("zero-shot-classification", tool)(
            request.text, candidate_labels=request.labels, hypothesis_template=request.hypothesis
        )
        pairs = zip(found["labels"], found["scores"], strict=True)
        how = "whether each label's sentence follows from the text"
    labels = [{"label": label, "score": round(float(score), 4)} for label, score in pairs]
    return {"labels": sorted(labels, key=lambda one: -cast(float, one["score"])), "how": how}


def _entities(tool: Tool, request: t.EntitiesParams) -> dict[str, Any]:
    found = _pipeline("token-classification", tool)(request.text, aggregation_strategy="simple")
    entities = [
        {
            "label": str(one["entity_group"]),
            "text": request.text[one["start"] : one["end"]],
            "start": int(one["start"]),
            "end": int(one["end"]),
            "score": round(float(one["score"]), 4),
        }
        for one in found
    ]
    return {"entities": entities, "how": "transformers' token-classification pipeline"}


def _fill(tool: Tool, request: t.FillParams) -> dict[str, Any]:
    text = request.text.replace("[MASK]", tool.tokenizer.mask_token)
    found = _pipeline("fill-mask", tool)(text, top_k=request.top_k)
    labels = [{"label": one["token_str"].strip(), "score": round(float(one["score"]), 4)} for one in found]
    return {"labels": labels, "how": "transformers' fill-mask pipeline"}


def _answer(tool: Tool, request: t.QuestionParams) -> dict[str, Any]:
    """The likeliest span of the text, of at most 30 tokens; long texts are read in overlapping parts."""
    import torch

    longest = min(384, _reads(tool))
    asked = len(tool.tokenizer(request.question)["input_ids"])
    if asked > longest // 2:
        raise BadInput(f"The question has {asked} tokens; use at most {longest // 2}.", "Ask it in fewer words.")
    parts = tool.tokenizer(
        request.question, request.context, truncation="only_second", max_length=longest, stride=longest // 4,
        return_overflowing_tokens=True, return_offsets_mapping=True, padding=True, return_tensors="pt",
    )  # fmt: skip
    given = {key: parts[key].to(tool.model.device) for key in tool.tokenizer.model_input_names if key in parts}
    with torch.inference_mode():
        out = tool.model(**given)
    best: tuple[float, int, int] = (-1.0, 0, 0)
    for index in range(len(parts["input_ids"])):
        inside = torch.tensor([part == 1 for part in parts.sequence_ids(index)])
        start, end = (
            side[index].float().cpu().masked_fill(~inside, -torch.inf).softmax(dim=-1)
            for side in (out.start_logits, out.end_logits)
        )
        spans = torch.outer(start, end).triu().tril(29)
        place = int(spans.argmax())
        first, last = divmod(place, spans.shape[1])
        offsets = parts["offset_mapping"][index]
        if (score := float(spans[first, last])) > best[0]:
            best = (score, int(offsets[first][0]), int(offsets[last][1]))
    score, begin, stop = best
    how = "the likeliest span that the model marks"
    return {"answer": request.context[begin:stop], "start": begin, "end": stop, "score": round(score, 4), "how": how}


def _similar(tool: Tool, request: t.SimilarityParams) -> dict[str, Any]:
    vectors = embed(tool, request.texts)
    matrix = [[round(score, 4) for score in row] for row in (vectors @ vectors.T).tolist()]
    return {"texts": request.texts, "matrix": matrix, "how": "cosine similarity of the texts' vectors"}


def _vectors(tool: Tool, request: t.EmbedParams) -> dict[str, Any]:
    vectors = [[round(value, 6) for value in row] for row in embed(tool, request.texts).tolist()]
    how = f"{len(vectors[0])} numbers for each text, of length 1"
    return {"texts": request.texts, "vectors": vectors, "how": how}


def _see(tool: Tool, request: t.ImageParams) -> dict[str, Any]:
    found = _pipeline("image-classification", tool)(picture(request.file), top_k=request.top_k)
    return {"labels": _plain(found), "how": "transformers' image-classification pipeline"}


_AT_ONCE: dict[type[t.TaskParams], Callable[[Tool, Any], dict[str, Any]]] = {
    t.ClassifyParams: _classify,
    t.ZeroShotParams: _zero_shot,
    t.EntitiesParams: _entities,
    t.FillParams: _fill,
    t.QuestionParams: _answer,
    t.SimilarityParams: _similar,
    t.EmbedParams: _vectors,
    t.ImageParams: _see,
}


def embed(tool: Tool, texts: list[str]) -> Any:
    """Vectors of length 1, [texts, size]: the mean over the tokens, or the first token's where the model says so."""
    import torch

    pooling = tool.folder / "1_Pooling" / "config.json"
    first = pooling.exists() and json.loads(pooling.read_text()).get("pooling_mode_cls_token", False)
    model = getattr(tool.model, tool.model.base_model_prefix, tool.model)  # without the head that fills gaps
    given = tool.tokenizer(texts, padding=True, truncation=True, max_length=min(512, _reads(tool)), return_tensors="pt")
    given = given.to(tool.model.device)
    with torch.inference_mode():
        states = model(**given).last_hidden_state.float()
    mask = given["attention_mask"][..., None].float()
    pooled = states[:, 0] if first else (states * mask).sum(dim=1) / mask.sum(dim=1)
    return torch.nn.functional.normalize(pooled, dim=-1).cpu()


def _likeliest(model: Any, tokenizer: Any, request: t.ZeroShotParams) -> list[dict[str, Any]]:
    """Labels by how likely the text is after each one's sentence, with chances that add up to 1.

    Asking a small model for the label itself gives its favourite label; turned round it judges (Min et al., 2022,
    "Noisy Channel Language Model Prompting"). One label at a time, so that memory does not grow with their number.
    """
    import torch

    text = tokenizer(f" {request.text}", add_special_tokens=False)["input_ids"][:_CHANNEL_TOKENS]
    scores = []
    for label in request.labels:
        sentence = tokenizer(f"{request.hypothesis.format(label)}\n\nText:", add_special_tokens=False)["input_ids"]
        ids = torch.tensor([sentence + text], device=model.device)
        with torch.inference_mode():
            logits = model(input_ids=ids, use_cache=False).logits[0, len(sentence) - 1 : -1].float()
        scores.append(float(logits.log_softmax(dim=-1).gather(1, ids[0, len(sentence) :, None]).sum()))
    chances = torch.tensor(scores).softmax(dim=0).tolist()
    pairs = sorted(zip(request.labels, chances, strict=True), key=lambda pair: -pair[1])
    return [{"label": label, "score": round(chance, 4)} for label, chance in pairs]


def _pipeline(name: str, tool: Tool) -> Any:
    from transformers import pipeline

    return pipeline(name, model=tool.model, tokenizer=tool.tokenizer, image_processor=tool.eyes)


def _plain(found: Any) -> list[dict[str, Any]]:
    return [{"label": str(one["label"]), "score": round(float(one["score"]), 4)} for one in found]


def _reads(tool: Tool) -> int:
    """How many tokens the model reads; some tokenizers say 10³⁰."""
    own = getattr(tool.model.config, "max_position_embeddings", None) or 512
    return int(min(tool.tokenizer.model_max_length, own))


def engines(text: TextEngine) -> Iterator[tuple[str, tuple[TaskEngine, type[t.TaskParams]]]]:
    """For each task its engine and its params; they share one box of models."""
    tools = Toolbox(text.shelf)
    for name, task in t.TASKS.items():
        yield name, (TaskEngine(name, text, tools), task.params)
