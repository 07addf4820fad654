"""Answers that are JSON of a given schema: one more step of the chooser, which rules out every token that breaks it.

The grammar's work is llguidance's: well under a millisecond a token for a vocabulary of 49,000.
"""

from __future__ import annotations

import json
from typing import Any
from weakref import WeakKeyDictionary

from backend.engines.voices import Words
from backend.errors import BadInput

# One space after a comma and a colon and none elsewhere, or a small model may write spaces for ever.
LAYOUT: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
_EXAMPLE = 'Write one such as {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}.'
_known: WeakKeyDictionary[Words, Any] = WeakKeyDictionary()


def known(words: Words) -> bool:
    """Whether the tokens of `words` are read already."""
    return words in _known


def read(words: Words) -> Any:
    """The tokens of `words` as llguidance takes them; about a second the first time. Raises BadInput."""
    from llguidance.hf import from_tokenizer

    if words not in _known:
        try:
            _known[words] = from_tokenizer(words.tokenizer, eos_token=sorted(words.ends) or None)
        except ValueError as error:
            raise BadInput(
                f"The tokenizer of {words.name} can't be bound to a schema: {str(error).rstrip('.')}.",
                "Choose a model with a fast tokenizer, or leave json_schema empty.",
            ) from error
    return _known[words]


def grammar(schema: str) -> str:
    """What llguidance makes of `schema`. Raises BadInput that says what is wrong with it."""
    from llguidance import LLMatcher

    try:
        meant = json.loads(schema)
    except ValueError as error:
        raise BadInput(f"json_schema is not JSON: {error}.", _EXAMPLE) from None
    if not isinstance(meant, dict):
        raise BadInput(f"json_schema is {schema.strip()[:60]}; a schema is an object.", _EXAMPLE)
    try:
        made: str = LLMatcher.grammar_from_json_schema(schema, defaults=LAYOUT)
        wrong = LLMatcher.validate_grammar(made)
    except ValueError as error:
        wrong = str(error)
    if wrong:
        raise BadInput(f"json_schema can't be followed: {_reason(wrong)}.", _EXAMPLE)
    return made


class Fitting:
    """A step of the chooser (ids [1, n], scores [1, vocabulary]) → scores, -inf where a token would break the schema.

    `start` tokens of the ids are the prompt; `begun` is the answer's text in it, when it goes on from one.
    """

    def __init__(self, schema: str, words: Words, start: int, begun: str = "") -> None:
        from llguidance import LLMatcher

        tokenizer = read(words)
        self._matcher = LLMatcher(tokenizer, grammar(schema))
        self._read = start
        tokens = tokenizer.tokenize_str(begun)
        if self._matcher.try_consume_tokens(tokens) < len(tokens):
            raise BadInput(
                f"The answer to continue, {begun[:60]!r}, does not fit json_schema.", "Retry it, or leave the schema."
            )

    @property
    def complete(self) -> bool:
        """Whether what was chosen so far is a whole value."""
        return bool(self._matcher.is_accepting())

    def add(self, tokens: list[int]) -> None:
        """Take over what was chosen. Tokens that end an answer are no part of the value."""
        for token in tokens:
            if not self._matcher.is_stopped():
                self._matcher.consume_token(token)

    def __call__(self, ids: Any, scores: Any) -> Any:
        import torch

        self.add(ids[0, self._read :].tolist())
        self._read = ids.shape[1]
        bits = torch.frombuffer(bytearray(self._matcher.compute_bitmask()), dtype=torch.uint8)
        allowed = (bits[:, None] >> torch.arange(8, dtype=torch.uint8)) & 1  # [bytes, 8], the lowest bit first
        count = min(scores.shape[-1], allowed.numel())
        allowed = allowed.flatten()[:count].bool().to(scores.device)
        scores[:, :count].masked_fill_(~allowed, -torch.inf)
        scores[:, count:] = -torch.inf
        return scores


def _reason(said: str) -> str:
    """What llguidance says, on one line."""
    return " ".join(said.split()).rstrip(".")[:300] or "no reason given"
