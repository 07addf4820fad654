"""One answer in the making: the forward passes, their cache, and the choice of each next token."""

from __future__ import annotations

from typing import Any, Protocol

from backend.engines.prefixes import Prefix, Prefixes
from backend.engines.shelf import Voice

CHUNK = 512  # tokens of a prompt read in one step; torch's attention adds up in blocks of 512, so no bit changes
_LIKELY = 256  # tokens among which the likeliest that add up to top_p are looked for first
_CLOSE = 1e-4  # sums that are nearer to top_p than this are left to the exact way


class Settings(Protocol):
    """How tokens are chosen, in the words of `generate`."""

    @property
    def temperature(self) -> float: ...
    @property
    def top_p(self) -> float: ...
    @property
    def top_k(self) -> int: ...
    @property
    def repetition_penalty(self) -> float: ...
    @property
    def seed(self) -> int: ...


class Decoding:
    """Reads a prompt in chunks, then gives a token a call: the same ones as transformers' `generate`.

    Every method is one step: at most one forward pass. Not for several threads at once.
    """

    def __init__(self, voice: Voice, settings: Settings, tokens: list[int], longest: int) -> None:
        import torch

        self._torch = torch
        self._voice = voice
        self._prompt = tokens
        self._count = len(tokens)
        self._ids = torch.zeros((1, len(tokens) + longest), dtype=torch.long)
        self._ids[0, : len(tokens)] = torch.tensor(tokens)
        self._ids = self._ids.to(voice.model.device)
        self._choose = _chooser(settings, voice.model.device)
        self._logits: Any = None  # [1, vocabulary], after the last token read
        self._cache: Any = None
        self._read = 0

    def begin(self, prefixes: Prefixes) -> None:
        """Take over what is known of the prompt, so that it need not be read."""
        from transformers import DynamicCache

        voice = self._voice
        self._cache = DynamicCache(config=voice.model.config)
        layers: Any = ()
        if _plain(self._cache):
            self._read, prefix = prefixes.find(voice.key, self._prompt, CHUNK)
            if prefix is not None:
                until = voice.virtual + self._read
                layers = [(keys[:, :, :until], values[:, :, :until]) for keys, values in prefix.layers]
        if not self._read and voice.prompt is not None and not self._torch.is_tensor(voice.prompt):
            layers = [(layer.keys, layer.values) for layer in voice.prompt.layers]
        for layer, (keys, values) in zip(self._cache.layers, layers, strict=False):
            layer.update(keys, values)

    def read(self, prefixes: Prefixes) -> int:
        """Read the prompt's next chunk; how many of its tokens are read now."""
        end = min(self._read + CHUNK, len(self._prompt))
        self._forward(self._ids[:, self._read : end])
        self._read = end
        if end % CHUNK == 0 and _plain(self._cache):
            # The layers grow by making new tensors, so these stay as they are.
            layers = tuple((layer.keys, layer.values) for layer in self._cache.layers)
            prefixes.keep(self._voice.key, Prefix(tuple(self._prompt[:end]), layers))
        return end

    def next(self) -> int:
        """The next token of the answer."""
        with self._torch.inference_mode():
            if self._count > self._read:
                with self._voice.pace.step():
                    self._forward(self._ids[:, self._read : self._count])
                self._read = self._count
            scores = self._logits.to(dtype=self._torch.float32, copy=True)
            token = self._choose(self._ids[:, : self._count], scores)
            self._ids[0, self._count] = token
            self._count += 1
            return int(token)

    def _forward(self, ids: Any) -> None:
        torch, voice = self._torch, self._voice
        with torch.inference_mode():
            given = {"input_ids": ids}
            if self._read == 0 and torch.is_tensor(voice.prompt):
                text = voice.model.get_input_embeddings()(ids)
                given = {"inputs_embeds": torch.cat([voice.prompt.to(text.dtype), text], dim=1)}
            out = voice.model(**given, past_key_values=self._cache, use_cache=True, return_dict=True, **voice.options)
            self._logits = out.logits[:, -1]


def _plain(cache: Any) -> bool:
    """Whether every layer keeps all positions, so that a part of it is the cache of a part of the prompt."""
    from transformers.cache_utils import DynamicLayer

    return all(type(layer) is DynamicLayer for layer in cache.layers)


def _chooser(settings: Settings, device: Any) -> Any:
    """A function (ids [1, n], scores [1, vocabulary]) → the next token, in `generate`'s order of processors."""
    import torch
    from transformers import (
        LogitsProcessorList,
        RepetitionPenaltyLogitsProcessor,
        TemperatureLogitsWarper,
        TopKLogitsWarper,
    )

    steps = LogitsProcessorList()
    if settings.repetition_penalty != 1:
        steps.append(RepetitionPenaltyLogitsProcessor(float(settings.repetition_penalty)))
    if settings.temperature == 0:
        return lambda ids, scores: steps(ids, scores).argmax(dim=-1)
    if settings.temperature != 1:
        steps.append(TemperatureLogitsWarper(float(settings.temperature)))
    if settings.top_k:
        steps.append(TopKLogitsWarper(settings.top_k))
    if settings.top_p < 1:
        steps.append(_top_p(float(settings.top_p)))
    chance = torch.Generator(device).manual_seed(settings.seed)

    def draw(ids: Any, scores: Any) -> Any:
        return torch.multinomial(steps(ids, scores).softmax(dim=-1), 1, generator=chance)[0]

    return draw


def _top_p(top_p: float) -> Any:
    """What transformers' TopPLogitsWarper does, without sorting the whole vocabulary where a few tokens tell.

    Theirs drops, of the scores in rising order, those that add up to 1 - top_p; of equal scores the first go first.
    """
    import torch
    from transformers import TopPLogitsWarper

    whole = TopPLogitsWarper(top_p)

    def keep(ids: Any, scores: Any) -> Any:
        if scores.shape[-1] <= _LIKELY or scores.device.type != "cpu":
            return whole(ids, scores)
        likely = scores.topk(_LIKELY).values[0]
        above = (likely - scores.logsumexp(dim=-1)).exp().cumsum(dim=0)  # what each and those above it add up to
        count = 1 + int((above < top_p).sum())
        if count >= _LIKELY or float((above - top_p).abs().min()) < _CLOSE:
            return whole(ids, scores)
        if likely[count] == likely[count - 1]:  # which of equal scores go is up to the way of sorting
            return whole(ids, scores)
        return scores.masked_fill(scores < likely[count - 1], -torch.inf)

    return keep
