"""Tokens of all answers by the seconds of work for them."""

import numpy

from backend.metrics import Array, Figures, Numbers, compute, ratio


def rows(tokens: Numbers, seconds: Numbers) -> Array:
    """[n, 2]: tokens, seconds."""
    return numpy.stack([tokens, seconds], axis=1).astype(float)


def value(sums: Array) -> Figures:
    return {"speed": ratio(sums[..., 0], sums[..., 1])}


Speed = compute("speed", __doc__, rows, value, tokens="int64", seconds="float64")
