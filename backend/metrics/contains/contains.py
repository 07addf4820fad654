"""The share of answers that have the reference in them as whole words, whatever the case."""

from backend.metrics import Array, Texts, compute, each, mean


def rows(predictions: Texts, references: Texts) -> Array:
    """[n, 2]: contained, 1."""
    return each([_within(one, other) for one, other in zip(predictions, references, strict=True)])


def _within(answer: str, reference: str) -> bool:
    text, wanted = answer.lower(), reference.strip().lower()
    begin = text.find(wanted)
    while begin >= 0:
        around = text[begin - 1 : begin] + text[begin + len(wanted) : begin + len(wanted) + 1]
        if not any(letter.isalnum() or letter == "_" for letter in around):
            return True
        begin = text.find(wanted, begin + 1)
    return False


value = mean("contains")


Contains = compute("contains", __doc__, rows, value, predictions="string", references="string")
