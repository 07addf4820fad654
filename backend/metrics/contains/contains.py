"""The share of answers that have the reference in them as whole words, whatever the case."""

import re

from backend.metrics import Array, Texts, compute, each, mean


def rows(predictions: Texts, references: Texts) -> Array:
    """[n, 2]: contained, 1."""
    return each([_within(one, other) for one, other in zip(predictions, references, strict=True)])


def _within(answer: str, reference: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(reference.strip())}(?!\w)", answer, re.IGNORECASE) is not None


value = mean("contains")


Contains = compute("contains", __doc__, rows, value, predictions="string", references="string")
