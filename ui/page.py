"""What the tabs and the sidebar of one page share. They speak with one another through this alone."""

from __future__ import annotations

from dataclasses import dataclass

import gradio as gr


@dataclass(frozen=True)
class Page:
    """Set a State and select a tab (`gr.Tabs(selected="run")` as the output for `tabs`); react to `run.change`."""

    blocks: gr.Blocks  # for `page.blocks.load(...)`: when a visitor opens the page
    tabs: gr.Tabs  # ids: text · data · tune · run
    run: gr.State  # id of the run shown, '' for none; `?run=ID` sets it too
    chat_with: gr.State  # [model, adapter] to talk to, [] for no wish
    model: gr.State  # [tab, model]: the model that Tune or Evaluate takes over, [] for no wish
    dataset: gr.State  # the dataset that the Tune tab takes over, '' for no wish
    clone: gr.State  # id of the run whose settings the Tune tab takes over, '' for no wish
    message: gr.State  # what the Text tab takes over as the message to send, '' for no wish
    evaluate: gr.State  # what the Evaluate tab takes over, '' for no wish: a dataset, or run/ID of an evaluation
    has: frozenset[str] = frozenset()  # ids of the tabs there are
