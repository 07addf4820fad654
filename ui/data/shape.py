"""The Shape panel: steps, each tried at once; saving what comes out here, or publishing it on the Hub."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from backend.data.hub import LICENCES
from backend.errors import BadInput
from ui.data import told
from ui.data.desk import BUSY, PLAIN, PRESS, PRIVATE, About, Desk, Panel, names, ticket
from ui.page import HIDDEN
from ui.toasts import as_json, toasts

STEPS: dict[str, tuple[str, ...]] = {  # what a step asks for, in the order of its fields
    "chat": ("User", "Assistant", "System prompt"),
    "prompt_completion": ("Prompt", "Completion"),
    "preference": ("Prompt", "Chosen", "Rejected"),
    "label": ("Text", "Label"),
    "rename": ("Column", "New name"),
    "cast": ("Column", "Type: string, int64, float64 or bool"),
    "drop": ("Column",),
    "filter": (),
    "without": ("Row numbers, with commas",),
    "sample": ("Rows", "Seed"),
    "shuffle": ("Seed",),
    "concatenate": ("Dataset with the same columns",),
    "split": ("Share for the test", "Seed"),
}
FIELDS = {
    "chat": ("user", "assistant", "system"),
    "prompt_completion": ("prompt", "completion"),
    "preference": ("prompt", "chosen", "rejected"),
    "label": ("text", "label"),
    "cast": ("column", "to"),
    "sample": ("rows", "seed"),
    "shuffle": ("seed",),
    "concatenate": ("dataset",),
    "split": ("test", "seed"),
}
TITLES = {"without": "leave rows out"}


@dataclass(frozen=True)
class Shape:
    """The panel, and what another panel needs to save or to add a step."""

    panel: Panel
    done: gr.State
    save: gr.Button
    name: gr.Textbox
    outputs: Sequence[Any]  # of a step: done, steps, preview, recipe
    on_without: Any


def build(desk: Desk) -> Shape:
    shaping, view = desk.lab.data.shape, desk.view
    done = gr.State([])
    with gr.Accordion("Shape it", open=False, elem_id="data-shape") as accordion:
        steps = gr.HTML(told.steps([]), elem_id="data-steps", js_on_load=PRESS, **PLAIN)
        with gr.Row(elem_classes="fields"):
            kinds = [(TITLES.get(kind, kind.replace("_", "-")), kind) for kind in STEPS]
            kind = gr.Dropdown(kinds, value="chat", label="Step", min_width=140, elem_id="data-step")
            slots = [
                gr.Dropdown([], label=label, allow_custom_value=True, min_width=140, elem_id=f"data-slot-{i}")
                for i, label in enumerate(STEPS["chat"])
            ]
        with gr.Row(elem_classes="ways"):
            append = gr.Button("Add the step", size="sm", scale=0, min_width=120, elem_id="data-step-add")
            name = gr.Textbox(
                placeholder="Name of the new dataset", show_label=False, container=False, scale=1, min_width=160,
                elem_id="data-save-name",
            )  # fmt: skip
            save = gr.Button(
                "Save as dataset", variant="primary", size="sm", scale=0, min_width=140, elem_id="data-save"
            )
        preview = gr.HTML(elem_id="data-preview", **PLAIN)
        recipe = gr.Code(
            language="python", label="The same in plain Python", interactive=False, visible=False, max_lines=30,
            elem_id="data-recipe",
        )  # fmt: skip
    with gr.Accordion("Publish on the Hub", open=False, elem_id="data-publish"):
        gr.Markdown("The rows after the steps above, or all as they are, go to a dataset repository of yours.")
        with gr.Row(elem_classes="fields"):
            repository = gr.Textbox(
                label="Repository", placeholder="owner/name", lines=1, max_lines=1, min_width=180,
                elem_id="data-repository",
            )  # fmt: skip
            licence = gr.Dropdown(LICENCES, value=None, label="Licence", min_width=120, elem_id="data-licence")
        private = gr.Checkbox(value=True, label="Private", elem_id="data-private")
        card = gr.Code(
            language="markdown", label="Card", interactive=True, lines=6, max_lines=24, elem_id="data-new-card"
        )
        with gr.Row(elem_classes="ways"):
            draft = gr.Button("Write a first card", size="sm", scale=0, min_width=140, elem_id="data-draft")
            publish = gr.Button("Publish", variant="primary", size="sm", scale=0, min_width=100, elem_id="data-push")
        published = gr.Markdown(elem_id="data-published")

    outputs = [done, steps, preview, recipe]

    @toasts
    def on_step(view: dict[str, Any], done: list[Any], kind: str, request: gr.Request, *slots: str) -> list[Any]:
        return tried(view, [*done, step(kind, slots, view["filters"])], request)

    @toasts
    def on_steps(view: dict[str, Any], done: list[Any], event: gr.EventData, request: gr.Request) -> list[Any]:
        """A step is taken back."""
        left = [one for i, one in enumerate(done) if str(i) != str(event._data.get("step"))]
        return tried(view, left, request)

    @toasts
    def on_without(view: dict[str, Any], done: list[Any], event: gr.EventData, request: gr.Request) -> list[Any]:
        """Rows that a check found are left out: a step before all others, for it counts rows as they are."""
        if event._data.get("act") != "without":
            return [gr.skip()] * (len(outputs) + 1)
        gr.Info("Added as a step below, in Shape it.")
        first = {"do": "without", "rows": as_json(event._data["rows"], "The rows")}
        return [*tried(view, [first, *done], request), gr.Accordion(open=True)]

    def tried(view: Mapping[str, Any], done: list[Any], request: gr.Request) -> list[Any]:
        if not done:
            return [[], told.steps([]), "", gr.update(visible=False)]
        shown = shaping.preview(desk.source(view, request), done)
        return [done, told.steps(done), told.shaped(shown), gr.update(value=shown["code"], visible=True)]

    @toasts
    def on_draft(
        view: dict[str, Any], done: list[Any], repository: str, licence: str | None, request: gr.Request
    ) -> str:
        return shaping.card(desk.source(view, request), done, repository.strip(), licence or "")

    @toasts
    def on_publish(
        view: dict[str, Any],
        done: list[Any],
        repository: str,
        card: str,
        private: bool,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> str:
        place = shaping.publish(
            desk.source(view, request), done, repository.strip(), card or "", private,
            say=lambda done, total: progress((done, total), unit="files"), ticket=ticket(request, "save"),
        )  # fmt: skip
        return f"Published: [{repository.strip()}]({place})"

    kind.input(_slots, kind, slots, **PRIVATE)
    append.click(on_step, [view, done, kind, *slots], outputs, **BUSY)
    steps.act(on_steps, [view, done], outputs, **BUSY)
    draft.click(on_draft, [view, done, repository, licence], card, **BUSY)
    publish.click(on_publish, [view, done, repository, card, private], published, **BUSY)

    def begin(about: About) -> Sequence[Any]:
        every = names(about)
        cleared = [[], told.steps([]), "", gr.update(visible=False), "", ""]
        return [*[gr.update(choices=every, value="") for _ in slots], *cleared]

    panel = Panel([*slots, done, steps, preview, recipe, card, published], begin)
    return Shape(panel, done, save, name, [*outputs, accordion], on_without)


def saver(desk: Desk, begin: Any) -> Any:
    """Saves what the steps make, and opens it; `begin(view, request)` gives a value for each part of the tab."""

    @toasts
    def on_save(
        view: dict[str, Any],
        done: list[Any],
        name: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008
    ) -> list[Any]:
        made = desk.lab.data.shape.save(
            desk.source(view, request), done, name, say=lambda done, total: progress((done, total), unit="steps"),
            ticket=ticket(request, "save"),
        )  # fmt: skip
        return list(begin(made[0], request))

    return on_save


def step(kind: str, slots: Sequence[str], filters: Sequence[Any]) -> dict[str, Any]:
    """A step as it is recorded; what is empty keeps its default. Raises BadInput."""
    first, second, third = (str(one or "").strip() for one in slots)
    if kind == "rename":
        return {"do": kind, "columns": {first: second}}
    if kind == "drop":
        return {"do": kind, "columns": [first]}
    if kind == "filter":
        return {"do": kind, "filters": list(filters)}
    if kind == "without":
        numbers = [one.strip() for one in first.split(",") if one.strip()]
        if not numbers or not all(one.isdigit() for one in numbers):
            raise BadInput(f"{first[:60]!r} is no list of row numbers.", "Write them with commas: 3, 17, 20.")
        return {"do": kind, "rows": [int(one) for one in numbers]}
    given = zip(FIELDS[kind], (first, second, third), strict=False)
    return {"do": kind} | {key: value for key, value in given if value}


def _slots(kind: str) -> list[Any]:
    """The fields that a step asks for."""
    labels = STEPS[kind]
    return [
        gr.update(label=labels[i], visible=True, value="") if i < len(labels) else gr.update(visible=HIDDEN, value="")
        for i in range(3)
    ]
