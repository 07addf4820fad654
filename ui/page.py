"""What the tabs and the sidebar of one page share. They speak with one another through this alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}  # of events that programs don't see
HIDDEN = "hidden"  # in the page but not seen: in Gradio 6.31 what is not there yet can miss being shown


def shows(wanted: object) -> bool | str:
    """The `visible` of a part that holds no others. A `gr.HTML` needs none: it takes no room while it is empty.

    What holds others has True and False: Gradio copies it to all that it holds."""
    return True if wanted else HIDDEN


@dataclass(frozen=True)
class Page:
    """Set a State and select a tab (`gr.Tabs(selected="run")` as the output for `tabs`); react to `run.change`."""

    blocks: gr.Blocks  # for `page.blocks.load(...)`: when a visitor opens the page
    tabs: gr.Tabs  # ids: text · data · tune · run
    run: gr.State  # id of the run shown, '' for none; `?run=ID` sets it too
    chat_with: gr.State  # [model, adapter] to talk to, [] for no wish
    draw_with: gr.State  # [model, adapter, words of the prompt] to draw with, the last may lack; [] for no wish
    model: gr.State  # [tab, model]: the model that Tune or Evaluate takes over, [] for no wish
    dataset: gr.State  # the dataset that the Tune tab takes over, '' for no wish
    look: gr.State  # what the Data tab opens, {} for no wish: keys of its view, and `findings`, a run of checks
    clone: gr.State  # id of the run whose settings the Tune tab takes over, '' for no wish
    message: gr.State  # what the Text tab takes over as the message to send, '' for no wish
    evaluate: gr.State  # what the Evaluate tab takes over, '' for no wish: a dataset, or run/ID of an evaluation
    has: frozenset[str] = frozenset()  # ids of the tabs there are
