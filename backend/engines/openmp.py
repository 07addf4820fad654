"""The threads that OpenMP keeps for each thread that ever computed."""

from __future__ import annotations

import contextlib
import ctypes

_SOFT = 1  # omp_pause_soft


def release() -> None:
    """End the threads kept for the calling one; its next large operation makes new ones.

    As soon as all that are kept are more than cores, libgomp sends them to sleep between two operations, and a model of
    many small ones is half as quick. Does nothing where there is no libgomp of OpenMP 5.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).omp_pause_resource_all(_SOFT)
