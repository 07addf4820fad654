"""Images: words above, the picture in the middle, details folded beside it, and all that was drawn below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from backend.lab import Lab
from ui import notebooks, panels
from ui.images import begin, gallery, grid, told, wear
from ui.images.desk import MANY, PAGE, PRESS, PRIVATE, Desk, Views
from ui.images.form import EXAMPLES, FIRST, PRESETS, STARTER, Fields, another, styles
from ui.page import HIDDEN, Page
from ui.toasts import toasts

PLAIN: dict[str, Any] = {"padding": False, "apply_default_css": False, "js_on_load": PRESS}
_CHIPS = "".join(f'<button type="button" data-act="example" data-words="{one}">{one}</button>' for one in EXAMPLES)


def build(lab: Lab, page: Page) -> None:
    tab = gr.context.Context.block
    fields = Fields()
    chosen, most = gr.State(""), gr.State(PAGE)
    with gr.Row(elem_id="image-ask", equal_height=True):
        prompt = gr.Textbox(
            FIRST, label="Prompt", placeholder="Write what to draw", container=False, lines=1, max_lines=6, scale=8,
            min_width=200, elem_id="image-prompt",
        )  # fmt: skip
        draw = gr.Button("Draw", variant="primary", scale=0, min_width=110, elem_id="image-draw")
        stop = gr.Button("Stop", variant="stop", scale=0, min_width=110, elem_id="image-stop", visible=HIDDEN)
    chips = gr.HTML(f'<div class="chips">{_CHIPS}</div>', elem_id="image-examples", **PLAIN)
    with gr.Row(elem_id="image-quick", equal_height=True):
        style = gr.Dropdown(
            list(styles(STARTER)), value="As written", label="Style", container=False, scale=0, min_width=150,
            elem_id="image-style",
        )  # fmt: skip
        preset = gr.Radio(
            list(PRESETS), value="Usual", label="Preset", container=False, scale=0, min_width=300,
            elem_id="image-preset",
        )  # fmt: skip
    beside = gr.Column()
    fields.add(prompt=prompt, style=style)
    with gr.Row(elem_id="image-room", equal_height=False):
        with gr.Column(scale=3, min_width=280):
            stage = gr.HTML(told.EMPTY, elem_id="image-stage", **PLAIN)
            strip = gr.HTML(elem_id="image-strip", **PLAIN)
            desk = Desk(lab, stage, strip, chosen, most, draw, stop)
            table = gr.HTML(elem_id="image-table", **PLAIN)
            below = gr.Column()
        with gr.Column(scale=2, min_width=280):
            with gr.Accordion("Settings", open=False, elem_id="image-settings"):
                fields.settings()
            with gr.Accordion("Model and adapters", open=False, elem_id="image-wear"):
                wear.build(lab, fields)
            with gr.Accordion("Begin from a picture", open=False, elem_id="image-begin"):
                begun = begin.build(fields)

            def asked(values: Sequence[Any]) -> dict[str, Any]:
                given = fields.named(values)
                return fields.asked(given) | begin.asked(desk, given)

            with gr.Accordion("Table over two settings", open=False, elem_id="image-grid"):
                grid.build(desk, fields, asked, table)
            with gr.Accordion("Settings from a PNG", open=False, elem_id="image-read"):
                dropped = gr.File(
                    label="From here, AUTOMATIC1111, InvokeAI …", height=130,
                    elem_id="image-dropped",
                )  # fmt: skip
                read = gr.HTML(elem_id="image-read-told", elem_classes="quiet", padding=False)
            show_code = gr.Button("Code", size="sm", elem_id="image-code-button")
    with below:
        gallery.build(desk, fields, begun, page.blocks.load)
    with beside:
        begun.line.render()

    def on_tab() -> None:
        """Who comes here will draw: by then the model is there."""
        lab.warm("image")

    if isinstance(tab, gr.Tab):
        tab.select(on_tab, None, None, **PRIVATE)

    @toasts
    def on_draw(most: int, request: gr.Request, *values: Any) -> Views:
        given = fields.named(values)
        if given["fresh"]:
            given["seed"] = another()
        request_ = fields.asked(given) | begin.asked(desk, given)
        for drawing, updates in desk.drawn([request_], most, request):
            yield updates | ({} if drawing.begun else {fields["seed"]: given["seed"]})

    drawing = gr.on(
        [draw.click, prompt.submit], on_draw, [most, *fields.components], [*desk.outputs, fields["seed"]],
        **PRIVATE, **MANY,
    )  # fmt: skip
    drawing.failure(desk.idle, None, [draw, stop], **PRIVATE)
    stop.click(desk.halt, None, None, queue=False, **PRIVATE)

    def on_example(event: gr.EventData) -> str:
        return str(event.words)

    chips.example(on_example, None, prompt, **PRIVATE)

    def on_preset(name: str) -> list[str]:
        chosen = PRESETS.get(name, {})
        return [str(chosen.get("steps", "")), "", str(chosen.get("count", ""))]

    preset.input(on_preset, preset, [fields["steps"], fields["guidance"], fields["count"]], **PRIVATE)

    @toasts
    def on_dropped(file: str | None) -> dict[Any, Any]:
        if not file:
            return {read: ""}
        settings = lab.pictures.settings(file)
        return fields.fill(settings) | {read: told.read(settings)}

    dropped.change(on_dropped, dropped, [*fields.components, read], **PRIVATE)

    @toasts
    def on_wish(wish: list[str]) -> dict[Any, Any]:
        """What another tab wishes to draw with: [model, adapter, words]; the wish is done with."""
        if not wish:
            return {page.draw_with: gr.skip()}
        model, adapter, words = [*wish, "", ""][:3]
        filled = {fields["model"]: model or STARTER, fields["adapter_0"]: adapter, fields["weight_0"]: 1.0}
        return filled | ({prompt: words} if words else {}) | {page.draw_with: []}

    page.draw_with.change(
        on_wish, page.draw_with,
        [fields["model"], fields["adapter_0"], fields["weight_0"], prompt, page.draw_with], **PRIVATE,
    )  # fmt: skip

    def code(*given: Any) -> str:
        *first, request = given[:4]
        return lab.code("image", asked([*first, *given[4:]]), desk.owner(request))

    changing = [part for part in fields.components if not isinstance(part, gr.Image | gr.State)]
    panels.build(
        show_code, "Code", "image-code", "python", code, fields.components, panels.changes(changing),
        lambda text: notebooks.beside(lab, text, "A picture", "image"),
    )  # fmt: skip

    def on_address(request: gr.Request) -> dict[Any, Any]:
        """Settings that the address names."""
        settings = told.linked(request.query_params)
        return fields.fill(settings) if settings else {prompt: gr.skip()}

    page.blocks.load(on_address, None, fields.components, **PRIVATE)
