"""Why it is so: slices by any column, a confusion matrix whose cells open their rows, groups of errors."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ui import evaluate_views as drawn
from ui.evaluate import told as said
from ui.evaluate.desk import PRIVATE, Desk, Panel, Told
from ui.evaluate.rows import Rows
from ui.toasts import toasts
from ui.visitor import owner

CELL = """element.addEventListener("click", event => {
  const button = event.target.closest("button[data-reference]");
  if (button) trigger("cell", {...button.dataset});
});"""
GROUP = """element.addEventListener("click", event => {
  const button = event.target.closest("button[data-rows]");
  if (button) trigger("group", {rows: button.dataset.rows});
});"""
_FIRST = '<p class="quiet">Groups the rows that went wrong by what they are about. It takes some seconds.</p>'
_NO_LABELS = '<p class="quiet">The references are not a few labels.</p>'


def build(desk: Desk, rows: Rows, tabs: gr.Tabs) -> Panel:
    """The tabs Slices, Confusion and Errors."""
    lab = desk.lab
    with gr.Tab("Slices", id="slices"):
        apart = gr.HTML(elem_id="evaluate-slices", padding=False)
    with gr.Tab("Confusion", id="confusion"):
        matrix = gr.HTML(js_on_load=CELL, elem_id="evaluate-confusion", padding=False)
    with gr.Tab("Errors", id="errors"):
        with gr.Row(elem_classes="ways"):
            of = gr.Dropdown([], label="Of", scale=0, min_width=220, elem_id="evaluate-groups-of")
            find = gr.Button("Group the errors", size="sm", scale=0, min_width=140, elem_id="evaluate-group")
        groups = gr.HTML(_FIRST, js_on_load=GROUP, elem_id="evaluate-groups", padding=False)

    @toasts
    def on_slices(run_id: str, by: str, request: gr.Request) -> str:
        return drawn.slices(lab.evaluations.results(run_id, owner(request)), by) if run_id else ""

    @toasts
    def on_groups(run_id: str, by: str, model: int, request: gr.Request) -> str:
        return said.groups(lab.clusters.of(run_id, owner(request), by or "", int(model)))

    def draw(told: Told, who: str) -> list[Any]:
        first = next((one["figure"] for one in told["figures"] if one["model"] == 0), "")
        models = [(drawn.called(one["name"]), place) for place, one in enumerate(told["models"])]
        return [
            drawn.slices(told, first),
            drawn.confusion(told) or _NO_LABELS,
            gr.update(choices=models, value=len(models) - 1),
            _FIRST,
        ]

    rows.figure.input(on_slices, [desk.shown, rows.figure], apart, **PRIVATE)
    rows.look(matrix.cell(_cell, None, [rows.only, rows.offset, rows.show, tabs], **PRIVATE))
    rows.look(groups.group(_group, None, [rows.only, rows.offset, rows.show, tabs], **PRIVATE))
    find.click(
        on_groups, [desk.shown, rows.figure, of], groups, trigger_mode="once", api_visibility="private",
        show_progress="full",
    )  # fmt: skip
    return Panel([apart, matrix, of, groups], draw)


def _cell(event: gr.EventData) -> list[Any]:
    """A cell of the confusion matrix: its rows, in the tab of rows."""
    cell = [str(event.model), str(event.reference), str(event.answer)]
    return [{"cell": cell}, 0, "All", gr.Tabs(selected="rows")]


def _group(event: gr.EventData) -> list[Any]:
    """A group of errors, likewise."""
    numbers = [int(one) for one in str(event.rows).split(",") if one.isdigit()]
    return [{"numbers": numbers}, 0, "All", gr.Tabs(selected="rows")]
