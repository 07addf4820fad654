"""Asking an engine, and listening."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from backend import events as ev
from backend.engines.text import ChatParams


def asks(model: Path | str, message: str = "Hello?", **settings: Any) -> ChatParams:
    """A greedy answer of 24 tokens to one message, unless told otherwise."""
    values = {"messages": [{"role": "user", "content": message}], "max_new_tokens": 24, "temperature": 0}
    return ChatParams.model_validate(values | {"model": str(model)} | settings)


def said(stream: Iterable[ev.Event]) -> str:
    """The text of an answer that ends well."""
    events = list(stream)
    assert isinstance(events[-1], ev.Finished), events[-1]
    return "".join(event.text for event in events if isinstance(event, ev.Wrote))
