"""Where the unknown is caught, once: logged with its traceback, told to a person as a code to ask about."""

from __future__ import annotations

import functools
import logging
import secrets
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from backend.errors import Broken, LabError

log = logging.getLogger("atelier")
P = ParamSpec("P")
R = TypeVar("R")


def broken(error: Exception, what: str) -> Broken:
    """What a person is told of `error`, which happened in `what`."""
    code = secrets.token_hex(2)
    log.error("error %s in %s", code, what, exc_info=error)
    return Broken(
        f"Something broke on our side (error {code}).", "Try again; the server's log tells more under that code."
    )


def door(method: Callable[P, R]) -> Callable[P, R]:
    """The method raises LabError and nothing else."""

    @functools.wraps(method)
    def through(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return method(*args, **kwargs)
        except LabError:
            raise
        except Exception as error:
            raise broken(error, method.__name__) from error

    return through
