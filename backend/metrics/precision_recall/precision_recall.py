"""Precision and recall, each the mean over classes.

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
    classes = numpy.maximum((called + true > 0).sum(-1), 1)
    return {
        "precision": (right / numpy.maximum(called, 1)).sum(-1) / classes,
        "recall": (right / numpy.maximum(true, 1)).sum(-1) / classes,
    }


PrecisionRecall = compute("precision_recall", __doc__, rows, value, predictions="string", references="string")
