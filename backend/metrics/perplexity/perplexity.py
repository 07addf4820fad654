"""Perplexity of the references: e to the mean negative log-likelihood of a token, over all tokens of the set."""

import numpy

from backend.metrics import Array, Figures, Numbers, compute, ratio


def rows(log_likelihoods: Numbers, tokens: Numbers) -> Array:
    """[n, 2]: log-likelihood (natural), tokens."""
    return numpy.stack([log_likelihoods, tokens], axis=1).astype(float)


def value(sums: Array) -> Figures:
    return {"perplexity": numpy.exp(-ratio(sums[..., 0], sums[..., 1]))}


Perplexity = compute("perplexity", __doc__, rows, value, log_likelihoods="float64", tokens="int64")
