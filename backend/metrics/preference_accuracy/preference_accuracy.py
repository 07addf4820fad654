"""The share of rows whose chosen answer has a higher log-likelihood than the rejected one; even is half."""

import numpy

from backend.metrics import Array, Numbers, compute, mean


def rows(chosen: Numbers, rejected: Numbers) -> Array:
    """[n, 2]: 1, ½ or 0, and 1."""
    return numpy.stack([(1 + numpy.sign(numpy.subtract(chosen, rejected))) / 2, numpy.ones_like(chosen)], axis=1)


value = mean("preference_accuracy")


PreferenceAccuracy = compute("preference_accuracy", __doc__, rows, value, chosen="float64", rejected="float64")
