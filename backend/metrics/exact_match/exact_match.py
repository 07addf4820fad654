"""The share of answers that are the reference to the letter, white space at the ends aside."""

from backend.metrics import Array, Texts, compute, each, mean


def rows(predictions: Texts, references: Texts) -> Array:
    """[n, 2]: right, 1."""
    return each([one.strip() == other.strip() for one, other in zip(predictions, references, strict=True)])


value = mean("exact_match")


ExactMatch = compute("exact_match", __doc__, rows, value, predictions="string", references="string")
