"""The mean number of tokens in an answer."""

from backend.metrics import Array, Numbers, compute, each, mean


def rows(tokens: Numbers) -> Array:
    """[n, 2]: tokens, 1."""
    return each(tokens)


value = mean("length")


Length = compute("length", __doc__, rows, value, tokens="int64")
