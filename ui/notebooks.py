"""The code of what is on screen, as a notebook: a button under it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from backend.lab import Lab
from ui.after import PRESS, fresh
from ui.page import PRIVATE
from ui.toasts import toasts


def beside(lab: Lab, code: gr.Code, title: str, name: str) -> None:
    """Draw the button; a press brings `code` as NAME.ipynb."""
    button = gr.Button("Notebook for Colab", size="sm", scale=0, min_width=150, elem_id=f"{name}-notebook")
    # Not `visible=HIDDEN`: a panel that is shown would show it, too.
    file = gr.DownloadButton("file", elem_id=f"{name}-notebook-file", elem_classes="unseen")

    @toasts
    def on_notebook(script: str) -> str:
        text = lab.outcomes.book(title, script)
        path = fresh(file) / f"{name}.ipynb"
        path.write_text(text)
        return str(path)

    told: dict[str, Any] = {"trigger_mode": "once", **PRIVATE}
    button.click(on_notebook, code, file, **told).success(None, None, None, js=PRESS % file.elem_id, **PRIVATE)
