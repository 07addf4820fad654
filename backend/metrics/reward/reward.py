"""The mean score that a reward model gives the answers."""

from backend.metrics import Array, Numbers, compute, each, mean


def rows(rewards: Numbers) -> Array:
    """[n, 2]: rewards, 1."""
    return each(rewards)


value = mean("reward")


Reward = compute("reward", __doc__, rows, value, rewards="float64")
