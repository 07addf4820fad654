"""The share of labels that are right; case, white space at the ends and a full stop don't count."""

from backend.metrics import Array, Texts, compute, each, label, mean


def rows(predictions: Texts, references: Texts) -> Array:
    """[n, 2]: right, 1."""
    return each([label(one) == label(other) for one, other in zip(predictions, references, strict=True)])


value = mean("accuracy")


Accuracy = compute("accuracy", __doc__, rows, value, predictions="string", references="string")
