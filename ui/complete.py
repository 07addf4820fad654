"""Complete: a text that the model writes on, as base models do."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from typing import Any

import gradio as gr

from backend.engines.text import CompleteParams
from backend.errors import BadInput
from backend.lab import Lab
from ui import notebooks, panels
from ui.answers import LONGEST, Answer, meter, together
from ui.page import HIDDEN, PRIVATE
from ui.pickers import Picker
from ui.settings import ALTERNATIVES, Writing
from ui.toasts import toasts
from ui.visitor import owner

FIRST = "The lighthouse had been dark for eleven years when, one evening in March,"
UNDOS = 20
_TOKENS = '<div class="written" aria-label="What was written last, with its probabilities"></div>'

Views = Generator[dict[Any, Any], None, None]


def build(lab: Lab) -> None:
    stops: dict[str, threading.Event] = {}  # of the texts being written, by the page that asked
    before = gr.HTML([], html_template="", visible=HIDDEN)  # the texts to go back to, the newest last
    draft = gr.HTML("", html_template="", visible=HIDDEN, js_on_load="atelier.draft(props, trigger);")
    picker = Picker.draw(lab, "c")
    text = gr.Textbox(
        FIRST, label="Text", lines=10, max_lines=24, elem_id="text-page",
        info="The model reads it as it is, and writes on at its end",
    )  # fmt: skip
    with gr.Row(elem_id="text-page-ways", equal_height=True):
        write = gr.Button("Write on", variant="primary", scale=0, min_width=110, elem_id="text-write")
        stop = gr.Button("Stop", variant="stop", scale=0, min_width=110, visible=HIDDEN, elem_id="text-write-stop")
        undo = gr.Button("Undo", scale=0, min_width=80, elem_id="text-undo")
        show_code = gr.Button("Code", scale=0, min_width=80, elem_id="text-page-code-button")
    figures = gr.HTML(elem_id="text-page-meter", elem_classes="meter", padding=False)
    tokens = gr.HTML(
        [], html_template=_TOKENS, js_on_load="atelier.chat.page(element, props, watch);", padding=False,
        apply_default_css=False, elem_id="text-page-tokens",
    )  # fmt: skip
    with gr.Accordion("Settings", open=False, elem_id="text-page-settings"):
        form = Writing(CompleteParams, "text-page")
        seen = gr.Checkbox(label="Show how likely each token was", elem_id="text-page-chances")

    def asked(prompt: str, values: Sequence[Any]) -> dict[str, Any]:
        model, adapter, shown, *rest = values
        if not prompt:
            raise BadInput("There is no text to go on from.", "Write its beginning first.")
        if len(prompt) > LONGEST:
            raise BadInput(f"The text has {len(prompt):,} characters; at most {LONGEST:,} are taken.", "Shorten it.")
        more = {"alternatives": ALTERNATIVES} if shown else {}
        return {"prompt": prompt, "model": model or "", "adapter": adapter or ""} | form.read(rest) | more

    @toasts
    def on_write(prompt: str, older: list[str], request: gr.Request, *values: Any) -> Views:
        page_id = str(request.session_hash)
        if page_id in stops:
            raise BadInput("The model is writing.", "Wait for its end, or press Stop.")
        stream = lab.stream("complete", asked(prompt, values), owner(request))
        stop_it = stops[page_id] = threading.Event()
        buttons = {write: gr.update(visible=HIDDEN), stop: gr.update(visible=True)}
        answer = Answer()
        try:
            yield {**buttons, figures: "Waiting for the engine", tokens: []}
            for (answer,) in together([stream], stop=stop_it):
                # The box is left alone until there is something: an error keeps what was typed.
                written = {text: prompt + answer.text} if answer.text else {}
                yield {**written, **buttons, figures: _figures(answer), tokens: list(answer.chances)}
        finally:
            del stops[page_id]
        idle = {write: gr.update(visible=True), stop: gr.update(visible=HIDDEN)}
        kept = {before: [*older, prompt][-UNDOS:]} if answer.text else {}
        yield {**idle, **kept, figures: _figures(answer)}
        if answer.error:
            raise answer.error

    def on_stop(request: gr.Request) -> None:
        if going := stops.get(str(request.session_hash)):
            going.set()

    @toasts
    def on_undo(older: list[str]) -> list[Any]:
        if not older:
            raise BadInput("There is nothing to undo.", "Press Write on first.")
        return [older[-1], older[:-1], "", []]

    def code(prompt: str, *rest: Any) -> str:
        request, *values = rest[2:]
        return lab.code("complete", asked(prompt, values) | {"alternatives": 0}, owner(request))

    inputs = [picker.model, picker.adapter, seen, *form.components]
    writing = write.click(
        on_write, [text, before, *inputs], [text, before, write, stop, figures, tokens], concurrency_limit=64, **PRIVATE
    )
    writing.failure(lambda: [gr.update(visible=True), gr.update(visible=HIDDEN)], None, [write, stop], **PRIVATE)
    stop.click(on_stop, None, None, queue=False, **PRIVATE)
    undo.click(on_undo, before, [text, before, figures, tokens], **PRIVATE)
    text.change(None, text, None, js="text => { atelier.keep('atelier-draft', text); }", **PRIVATE)
    draft.apply(lambda kept: kept, draft, text, **PRIVATE)
    panels.build(
        show_code, "Code", "text-page-code", "python", code, [text, before, draft, *inputs],
        [text.change, *panels.changes(inputs)], lambda shown: notebooks.beside(lab, shown, "A text, continued", "text"),
    )  # fmt: skip


def _figures(answer: Answer) -> str:
    told = answer.figures or answer.doing
    return f"{meter(answer)} · {told}" if answer.context else told
