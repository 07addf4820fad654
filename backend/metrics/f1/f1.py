"""F1 over classes, each the harmonic mean of precision and recall: the mean over classes, and weighted by their size.

Classes are the labels of references and predictions both, as in scikit-learn; its `zero_division=0` is ours.
"""

import numpy

from backend.metrics import Array, Figures, Texts, compute, one_hot


def rows(predictions: Texts, references: Texts) -> Array:
    """[n, 3c] for c classes: one-hot right, called, and true."""
    called, true = one_hot(predictions, references)
    return numpy.concatenate([called * true, called, true], axis=1)


def value(sums: Array) -> Figures:
    right, called, true = numpy.split(sums, 3, axis=-1)
    each = 2 * right / numpy.maximum(called + true, 1)
    there = called + true > 0
    return {
        "f1_macro": each.sum(-1) / numpy.maximum(there.sum(-1), 1),
        "f1_weighted": (each * true).sum(-1) / numpy.maximum(true.sum(-1), 1),
    }


F1 = compute("f1", __doc__, rows, value, predictions="string", references="string")
