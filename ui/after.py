"""After a run: what it made, to take away. Merging and GGUF are runs; the rest comes at once."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from backend.lab import Lab
from backend.recipes import PICTURES
from ui import run_views
from ui.page import PRIVATE, Page
from ui.toasts import toasts
from ui.visitor import owner

PRESS = "() => { setTimeout(() => document.querySelector('#%s')?.click(), 50); }"


def draw(lab: Lab, page: Page, file: gr.DownloadButton) -> gr.Accordion:
    """The panel; it asks for what it shows when it is opened. `file` is where downloads come from."""
    with gr.Accordion("Take it away", open=False, elem_id="run-after") as panel:
        holds = gr.HTML(elem_id="run-holds", padding=False)
        with gr.Row(elem_classes="ways"):
            packed = _button("Download as zip", "run-zip")
            book = _button("Notebook for Colab", "run-notebook")
            card = _button("Model card", "run-card-button")
        with gr.Row(elem_classes="ways") as wholes:
            merge = _button("Merge into the base", "run-merge")
            kind = gr.Dropdown(
                ["q8_0", "f16", "f32"], value="q8_0", show_label=False, container=False, scale=0, min_width=90,
                elem_id="run-gguf-kind",
            )  # fmt: skip
            export = _button("Export as GGUF", "run-gguf")
        with gr.Row(elem_classes="beside"):
            repo = gr.Textbox(
                label="Push to the Hub",
                info="owner/name; you must be signed in",
                max_lines=1,
                scale=3,
                elem_id="run-repo",
            )
            private = gr.Checkbox(True, label="Private", scale=0, min_width=110)
            push = gr.Button("Push", size="sm", scale=0, min_width=90, elem_id="run-push")
        told = gr.Markdown(visible=False, elem_id="run-card")

    @toasts
    def on_open(run_id: str, request: gr.Request) -> list[Any]:
        who = owner(request)
        text = lab.status(run_id, who)["recipe"] not in PICTURES  # what draws is neither merged nor GGUF
        return [run_views.holds(lab.outcomes.files(run_id, who)), gr.update(visible=False), gr.update(visible=text)]

    @toasts
    def on_zip(run_id: str, request: gr.Request) -> str:
        made: Path = lab.outcomes.zip(run_id, owner(request))
        return str(made.rename(fresh(file) / made.name))

    @toasts
    def on_notebook(run_id: str, request: gr.Request) -> str:
        path = fresh(file) / f"run-{run_id}.ipynb"
        path.write_text(lab.outcomes.notebook(run_id, owner(request)))
        return str(path)

    @toasts
    def on_card(run_id: str, request: gr.Request) -> Any:
        text = lab.outcomes.card(run_id, owner(request))
        return gr.update(value=f"````markdown\n{text}\n````", visible=True)

    @toasts
    def on_merge(run_id: str, request: gr.Request) -> str:
        return lab.launch("merge", {"run": f"run/{run_id}"}, owner(request), _place(lab), run_id).id

    @toasts
    def on_export(run_id: str, kind: str, request: gr.Request) -> str:
        return lab.launch("export", {"run": f"run/{run_id}", "type": kind}, owner(request), _place(lab), run_id).id

    @toasts
    def on_push(run_id: str, repo: str, private: bool, request: gr.Request) -> Any:
        who = owner(request)
        address = lab.outcomes.push(run_id, who, repo, lab.token(who), private)
        return gr.update(value=f"It is at [{address}]({address}).", visible=True)

    panel.expand(on_open, page.run, [holds, told, wholes], **PRIVATE)
    for button, make in ((packed, on_zip), (book, on_notebook)):
        download(button, make, page, file)
    card.click(on_card, page.run, told, **PRIVATE)
    merge.click(on_merge, page.run, page.run, trigger_mode="once", **PRIVATE)
    export.click(on_export, [page.run, kind], page.run, trigger_mode="once", **PRIVATE)
    push.click(on_push, [page.run, repo, private], told, trigger_mode="once", **PRIVATE)
    return panel


def download(button: gr.Button, make: Callable[..., Any], page: Page, file: gr.DownloadButton) -> None:
    """A press has `make` write the file, which then comes as a download."""
    button.click(make, page.run, file, trigger_mode="once", **PRIVATE).success(
        None, None, None, js=PRESS % file.elem_id, **PRIVATE
    )


def fresh(button: gr.components.Component) -> Path:
    """A new folder whose files Gradio may hand out; its name can't be guessed."""
    folder = Path(button.GRADIO_CACHE) / secrets.token_hex(16)
    folder.mkdir(parents=True)
    return folder


def _place(lab: Lab) -> str:
    return lab.places()[0][0]


def _button(title: str, elem_id: str) -> gr.Button:
    return gr.Button(title, size="sm", elem_id=elem_id, scale=0, min_width=150)
