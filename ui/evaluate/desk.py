"""What the panels of the Evaluate tab share: the Lab, the evaluation shown, and the one that is watched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import gradio as gr

from backend.lab import Lab
from ui.page import Page

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
PRESS = "() => { setTimeout(() => document.querySelector('#evaluate-file')?.click(), 50); }"
Told = Mapping[str, Any]


@dataclass(frozen=True)
class Desk:
    """`shown` is the id of the evaluation that is shown, `watched` of the run under way; `timer` looks after it."""

    lab: Lab
    page: Page
    shown: gr.State
    watched: gr.State
    timer: gr.Timer
    file: gr.DownloadButton  # where downloads come from

    @property
    def where(self) -> str:
        return self.lab.places()[0][0]

    @property
    def begun(self) -> list[Any]:
        """Outputs of what starts a run: its id, and `gr.Timer(active=True)`."""
        return [self.watched, self.timer]


class Panel(NamedTuple):
    """Components that follow the evaluation shown: `draw(told, owner)` gives an update for each."""

    components: Sequence[Any]
    draw: Callable[[Told, str], Sequence[Any]]
