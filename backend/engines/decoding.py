"""One answer in the making: the forward passes and their cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backend.engines.choosing import Settings, Step, chooser, likeliest
from backend.engines.prefixes import Prefix, Prefixes
from backend.engines.voices import Voice

CHUNK = 512  # tokens of a prompt read in one step; torch's attention adds up in blocks of 512, so no bit changes


class Decoding:
    """Reads a prompt in chunks, then gives a token a call: the same ones as transformers' `generate`.

    Every method is one step: at most one forward pass. Not for several threads at once.
    """

    def __init__(
        self, voice: Voice, settings: Settings, tokens: list[int], longest: int, constraints: Sequence[Step] = ()
    ) -> None:
        import torch

        self._torch = torch
        self._voice = voice
        self._prompt = tokens
        self._count = len(tokens)
        self._ids = torch.zeros((1, len(tokens) + longest), dtype=torch.long)
        self._ids[0, : len(tokens)] = torch.tensor(tokens)
        self._ids = self._ids.to(voice.model.device)
        self._choose = chooser(settings, voice.model.device, constraints)
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

    def chances(self, token: int, count: int) -> tuple[float, list[tuple[int, float]]]:
        """The model's own probability of `token`, which `next` gave last, and the `count` likeliest in its place."""
        return likeliest(self._logits, token, count)

    def close(self) -> None:
        """Nothing is held but this object."""

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
