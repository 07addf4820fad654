"""A table of pictures over two settings: counted and timed before, drawn cell by cell, one PNG to take away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from backend.engines.picture import opened
from backend.errors import BadInput
from ui.after import PRESS as TAKE
from ui.images import canvas, sweep, told
from ui.images.desk import MANY, PLACED, PRIVATE, Desk, Views
from ui.images.form import Fields
from ui.toasts import calmly, toasts


def build(desk: Desk, fields: Fields, asked: Callable[[list[Any]], dict[str, Any]], table: gr.HTML) -> None:
    """Where it is called; `asked` reads a request from the values of `fields`, `table` is where the pictures go."""
    fold = gr.context.Context.block
    names = [(title, name) for name, title in sweep.AXES.items()]
    parts: list[Any] = []
    for side, label, name in (("x", "Across", "guidance"), ("y", "Down", "seed")):
        with gr.Row(elem_classes="pickers"):
            setting = gr.Dropdown(names, value=name, label=label, scale=1, min_width=120, elem_id=f"image-{side}")
            values = gr.Textbox(
                sweep.EXAMPLES[name], label="Values", placeholder="Separated by commas, or 1-4", max_lines=1, scale=1,
                min_width=120, elem_id=f"image-{side}-values",
            )  # fmt: skip
        setting.input(lambda name: sweep.EXAMPLES.get(name, ""), setting, values, **PRIVATE)
        parts += [setting, values]
    count = gr.HTML(elem_id="image-grid-count", elem_classes="quiet", padding=False)
    with gr.Row():
        go = gr.Button("Draw the table", size="sm", min_width=120, elem_id="image-grid-go")
        save = gr.Button("Download as PNG", size="sm", min_width=120, elem_id="image-grid-save")
    file = gr.DownloadButton("file", elem_id="image-grid-file", elem_classes="unseen")
    drawn = gr.State([])  # [heads across, heads down, names of the pictures in the order of the cells]

    def plan(given: list[Any]) -> tuple[sweep.Axis, sweep.Axis, list[list[dict[str, Any]]]]:
        across, down = sweep.axis(given[0], given[1]), sweep.axis(given[2], given[3])
        return across, down, sweep.requests(asked(given[4:]), across, down)

    def on_count(*given: Any) -> str:
        cells = [one for row in plan(list(given))[2] for one in row]
        return sweep.told(len(cells), desk.seconds(cells))

    @toasts
    def on_go(most: int, request: gr.Request, *given: Any) -> Views:
        across, down, rows = plan(list(given))
        cells = [one for row in rows for one in row]
        made: list[dict[str, str]] = []
        yield {table: told.table(across.heads, down.heads, made), drawn: []}
        for drawing, updates in desk.drawn(cells, most, request):
            if len(drawing.pictures) > len(made):
                made += [
                    {"name": one["name"], "address": desk.address(one["file"])} for one in drawing.pictures[len(made) :]
                ]
                names = [one["name"] for one in made]
                updates |= {table: told.table(across.heads, down.heads, made), drawn: [across.heads, down.heads, names]}
            yield updates

    @toasts
    def on_save(made: list[list[str]], request: gr.Request) -> str:
        if not made:
            raise BadInput("No table was drawn yet.", "Press Draw the table first.")
        across, down, names = made
        found = {one["name"]: one["file"] for one in desk.lab.pictures.list(desk.owner(request))}
        pictures = [opened(found[name]) if name in found else None for name in names]
        pictures += [None] * (len(across) * len(down) - len(pictures))
        rows = [pictures[row * len(across) : (row + 1) * len(across)] for row in range(len(down))]
        path = desk.fresh() / "table.png"
        canvas.sheet(rows, across, down).save(path)
        return str(path)

    inputs = [*parts, *fields.components]
    go.click(None, js=PLACED, **PRIVATE)  # to where it is stopped: on a phone that is far above
    going = go.click(on_go, [desk.most, *inputs], [*desk.outputs, table, drawn], **PRIVATE, **MANY)
    going.failure(desk.idle, None, [desk.draw, desk.stop], **PRIVATE)
    save.click(on_save, drawn, file, trigger_mode="once", **PRIVATE).success(
        None, None, None, js=TAKE % file.elem_id, **PRIVATE
    )
    opened_up = [fold.expand] if isinstance(fold, gr.Accordion) else []
    for event in (*opened_up, *(part.change for part in parts)):
        event(calmly(on_count, str), inputs, count, trigger_mode="always_last", **PRIVATE)
