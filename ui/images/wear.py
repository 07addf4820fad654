"""Choosing what draws: a model, and adapters with weights on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from backend.catalog import Entry
from backend.lab import Lab
from ui.images.desk import PRIVATE
from ui.images.form import STARTER, WEARS, Fields, styles
from ui.images.told import named
from ui.page import shows
from ui.toasts import toasts
from ui.visitor import owner

NOTHING = [("none", "")]


def build(lab: Lab, fields: Fields) -> None:
    """Where it is called; the style among `fields` follows the model. The lists fill themselves when opened."""
    model = gr.Dropdown([STARTER], value=STARTER, label="Model", info="From the list, a Hub id or a folder",
                        allow_custom_value=True, elem_id="image-model", elem_classes="pickers")  # fmt: skip
    rows = [_row(number) for number in range(WEARS)]
    upload = gr.UploadButton(
        "Use an adapter file", file_types=[".safetensors"], size="sm", elem_id="image-adapter-file"
    )
    fields.add(model=model)
    for number, (name, weight) in enumerate(rows):
        fields.add(**{f"adapter_{number}": name, f"weight_{number}": weight})

    @toasts
    def on_typed(typed: gr.KeyUpData, request: gr.Request) -> Any:
        query = typed.input_value if len(typed.input_value) > 2 else ""
        return gr.update(choices=choices(lab.image_models(query, owner(request))))

    @toasts
    def on_focus(request: gr.Request) -> Any:
        return gr.update(choices=choices(lab.image_models("", owner(request))))

    @toasts
    def on_adapters(name: str, request: gr.Request) -> Any:
        return gr.update(choices=NOTHING + choices(lab.image_adapters(owner(request), name or STARTER)))

    def on_model(name: str) -> list[Any]:
        """The words that it understands, and no adapter of another model."""
        return [gr.update(choices=list(styles(name or STARTER)), value="As written"), *[""] * WEARS]

    def on_worn(*names: str) -> list[Any]:
        """One more row than are filled."""
        filled = [bool(one) for one in names]
        seen = [number == 0 or filled[number] or filled[number - 1] for number in range(WEARS)]
        return [gr.update(visible=shows(one)) for one in seen for _ in range(2)]

    @toasts
    def on_upload(file: str, request: gr.Request, *names: str) -> list[Any]:
        """Its place goes where the first row is free."""
        place = lab.upload(owner(request), Path(file))
        known = NOTHING + choices([Entry(place, "upload", "uploaded")])
        free = next((number for number, one in enumerate(names) if not one), WEARS - 1)
        return [gr.update(choices=known, value=place) if number == free else gr.skip() for number in range(WEARS)]

    names = [name for name, _ in rows]
    model.key_up(on_typed, None, model, trigger_mode="always_last", **PRIVATE)
    model.focus(on_focus, None, model, **PRIVATE)
    model.input(on_model, model, [fields["style"], *names], **PRIVATE)
    for name in names:
        name.focus(on_adapters, model, name, **PRIVATE)
        name.change(on_worn, names, [part for row in rows for part in row], **PRIVATE)
    upload.upload(on_upload, [upload, *names], names, **PRIVATE)


def choices(entries: list[Entry]) -> list[tuple[str, str]]:
    """What a list shows for each, and what it stands for."""
    said = [one.name if one.source == "starter" else f"{named(one.name)} · {one.note or one.source}" for one in entries]
    return [(text, one.name) for text, one in zip(said, entries, strict=True)]


def _row(number: int) -> tuple[gr.Dropdown, gr.Slider]:
    with gr.Row(elem_classes="pickers", equal_height=True):
        seen = shows(number == 0)
        name = gr.Dropdown(
            NOTHING, value="", label="Adapter" if number == 0 else "And another", allow_custom_value=True, scale=3,
            min_width=160, visible=seen, elem_id=f"image-adapter-{number}",
        )  # fmt: skip
        weight = gr.Slider(
            -2, 2, value=1, step=0.05, label="Weight", scale=2, min_width=120, visible=seen,
            elem_id=f"image-weight-{number}",
        )  # fmt: skip
    return name, weight
