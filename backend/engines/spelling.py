"""Token ids → text, piece by piece."""

from __future__ import annotations

from typing import Any

_HALF = "\ufffd"  # how a decoder shows a character of which bytes are missing
_PATIENCE = 16  # tokens; no character is longer, so what is still unreadable then is not a character


class Speller:
    """Spells an answer as its tokens come. The pieces joined are what decoding all tokens at once gives.

    Each step decodes a handful of tokens, however long the answer: the last piece again, because a decoder may
    drop the space before a text's first word, and the tokens since. A character is never given in halves.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._tokens: list[int] = []
        self._before = 0  # where the last piece begins
        self._given = 0  # where the tokens begin that are not spelled yet

    def add(self, token: int) -> str:
        """The text that `token` completes; often a word, sometimes nothing yet."""
        self._tokens.append(token)
        return self._spell(flush=len(self._tokens) - self._given >= _PATIENCE)

    def rest(self) -> str:
        """What is left at the end: half a character, shown as the decoder shows it, or nothing."""
        return self._spell(flush=True)

    def _spell(self, flush: bool) -> str:
        known = self._decode(self._tokens[self._before : self._given])
        text = self._decode(self._tokens[self._before :])
        if len(text) <= len(known) or (text.endswith(_HALF) and not flush):
            return ""
        self._before, self._given = self._given, len(self._tokens)
        return text[len(known) :]

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))
