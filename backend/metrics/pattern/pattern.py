"""The share of answers in which the row's regular expression is found."""

import re

from backend.metrics import Array, Texts, compute, each, mean


def rows(predictions: Texts, patterns: Texts) -> Array:
    """[n, 2]: found, 1."""
    return each([re.search(one, answer) is not None for answer, one in zip(predictions, patterns, strict=True)])


value = mean("pattern")


Pattern = compute("pattern", __doc__, rows, value, predictions="string", patterns="string")
