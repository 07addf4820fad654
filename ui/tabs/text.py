"""The Text tab: its modes, and which of them is on screen."""

from __future__ import annotations

import gradio as gr

from backend.lab import Lab
from ui import chat, complete, tasks
from ui.page import Page

MODES = ("Chat", "Compare", "Complete", "Tasks")


def build(lab: Lab, page: Page) -> None:
    with gr.Row(elem_id="text-top", equal_height=False) as top:
        mode = gr.Radio(list(MODES), value="Chat", label="Mode", container=False, min_width=150, elem_id="text-mode")
    with gr.Column(elem_id="text-talk"):
        chat.build(lab, page, mode, top)
    with gr.Column(elem_id="text-paper"):
        complete.build(lab)
    with gr.Column(elem_id="text-tasks"):
        tasks.build(lab, page)
    # By the page itself: in Gradio 6.31 showing a column again shows what is hidden in it, too.
    mode.change(None, mode, None, js="mode => { atelier.mode(mode); }", api_visibility="private")
