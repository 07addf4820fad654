"""Bits that the model needs for a UTF-8 byte of the references, over the whole set."""

import numpy

from backend.metrics import Array, Figures, Numbers, compute, ratio


def rows(log_likelihoods: Numbers, bytes: Numbers) -> Array:
    """[n, 2]: log-likelihood (natural), bytes."""
    return numpy.stack([log_likelihoods, bytes], axis=1).astype(float)


def value(sums: Array) -> Figures:
    return {"bits_per_byte": -ratio(sums[..., 0], sums[..., 1]) / numpy.log(2)}


BitsPerByte = compute("bits_per_byte", __doc__, rows, value, log_likelihoods="float64", bytes="int64")
