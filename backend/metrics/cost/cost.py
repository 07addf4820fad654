"""Dollars for a thousand answers."""

from backend.metrics import Array, Numbers, compute, each, mean


def rows(dollars: Numbers) -> Array:
    """[n, 2]: dollars for a thousand like it, 1."""
    return each([1000 * one for one in dollars])


value = mean("cost")


Cost = compute("cost", __doc__, rows, value, dollars="float64")
