"""A visitor's session, light.

Gradio 6.31 copies the settings of every component into each new session: with the 740 of this page that takes 130 ms,
in which nobody else is served, and 1.3 MB, kept for an hour. Each call to the API without a session is a new one.
All but the deep links (which Atelier hasn't) makes what it needs when it is not there, so here a session starts empty.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from gradio import state_holder


class Session(state_holder.SessionState):
    """Gradio's own, but for the copies."""

    def __init__(self, blocks: Any):
        super().__init__(SimpleNamespace(default_config=blocks.default_config, blocks={}))  # type: ignore[arg-type]


def light() -> None:
    """From now on new sessions are such."""
    state_holder.SessionState = Session  # type: ignore[misc]
