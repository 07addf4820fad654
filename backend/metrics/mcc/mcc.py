"""Matthews' correlation between labels and references, for any number of classes (Gorodkin 2004); 0 where undefined."""

import numpy

from backend.metrics import Array, Figures, Texts, compute, one_hot


def rows(predictions: Texts, references: Texts) -> Array:
    """[n, 2c + 2] for c classes: right, 1, one-hot called and true."""
    called, true = one_hot(predictions, references)
    right = (called * true).sum(1, keepdims=True)
    return numpy.concatenate([right, numpy.ones_like(right), called, true], axis=1)


def value(sums: Array) -> Figures:
    right, n = sums[..., 0], sums[..., 1]
    called, true = numpy.split(sums[..., 2:], 2, axis=-1)
    spread = (n**2 - (called**2).sum(-1)) * (n**2 - (true**2).sum(-1))
    together = right * n - (called * true).sum(-1)
    return {"mcc": numpy.where(spread > 0, together / numpy.sqrt(numpy.maximum(spread, 1)), 0.0)}


Mcc = compute("mcc", __doc__, rows, value, predictions="string", references="string")
