"""Shared words of answer and reference as SQuAD counts them, without case, articles and punctuation; mean over rows."""

import collections
import re
import string

from backend.metrics import Array, Texts, compute, each, mean


def rows(predictions: Texts, references: Texts) -> Array:
    """[n, 2]: F1, 1."""
    return each([_f1(_words(one), _words(other)) for one, other in zip(predictions, references, strict=True)])


def _words(text: str) -> list[str]:
    bare = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()


def _f1(answer: list[str], reference: list[str]) -> float:
    if not answer or not reference:
        return float(answer == reference)
    shared = sum((collections.Counter(answer) & collections.Counter(reference)).values())
    return 2 * shared / (len(answer) + len(reference))


value = mean("token_f1")


TokenF1 = compute("token_f1", __doc__, rows, value, predictions="string", references="string")
