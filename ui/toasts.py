"""The only `except` of the UI: an error becomes a toast, and the form keeps what was typed."""

from __future__ import annotations

import functools
import html
import inspect
import json
from collections.abc import Callable, Generator
from typing import Any

import gradio as gr

from backend import errors

STOPPED = "stopped.owner"  # the code of what was ended by whoever had begun it


def toast(error: errors.LabError, *, page: bool = True) -> gr.Error:
    """What to raise instead. A page shows the text as HTML, so it is escaped; a program gets it as it is."""
    text = str(error)
    return gr.Error(html.escape(text, quote=False) if page else text, print_exception=False)


def toasts(handler: Callable[..., Any], *, page: bool = True) -> Callable[..., Any]:
    """Wrap a handler, plain or streaming: a LabError is shown, nothing else is touched.

    What was stopped, by its owner or by their next question, is no error: the page stays as it was.
    """
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def streaming(*args: Any, **kwargs: Any) -> Generator[Any, None, None]:
            try:
                yield from handler(*args, **kwargs)
            except errors.LabError as error:
                raise toast(error, page=page) from None

        return streaming

    @functools.wraps(handler)
    def plain(*args: Any, **kwargs: Any) -> Any:
        try:
            return handler(*args, **kwargs)
        except errors.LabError as error:
            if page and error.code == STOPPED:
                return gr.skip()
            raise toast(error, page=page) from None

    return plain


def silently(handler: Callable[..., Any], otherwise: Callable[[], Any] = gr.skip) -> Callable[..., Any]:
    """Wrap what goes on beside: a LabError gives `otherwise()`; it is told when the thing itself is asked for."""

    @functools.wraps(handler)
    def quiet(*args: Any, **kwargs: Any) -> Any:
        try:
            return handler(*args, **kwargs)
        except errors.LabError:
            return otherwise()

    return quiet


def calmly(handler: Callable[..., Any], otherwise: Callable[[errors.LabError], Any]) -> Callable[..., Any]:
    """Wrap what is drawn in its own place: a LabError gives `otherwise(error)`, which says it there."""

    @functools.wraps(handler)
    def calm(*args: Any, **kwargs: Any) -> Any:
        try:
            return handler(*args, **kwargs)
        except errors.LabError as error:
            return otherwise(error)

    return calm


def as_json(text: str, name: str, hint: str = 'Write an object, for example {"max_steps": 10}.') -> Any:
    """What JSON text stands for. Raises BadInput where json would raise its own error."""
    try:
        return json.loads(text or "{}")
    except ValueError as error:
        raise errors.BadInput(f"{name} is not JSON: {error}.", hint) from None
