"""The mean number of seconds of work for an answer."""

from backend.metrics import Array, Numbers, compute, each, mean


def rows(seconds: Numbers) -> Array:
    """[n, 2]: seconds, 1."""
    return each(seconds)


value = mean("latency")


Latency = compute("latency", __doc__, rows, value, seconds="float64")
