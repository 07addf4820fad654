"""Beginning from a picture: image-to-image, a part painted over, a larger canvas, and what a ControlNet keeps to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr
from gradio.data_classes import FileData

from backend.engines.image import ImageParams
from backend.engines.picture import opened
from ui.after import fresh
from ui.forms import Form
from ui.images import canvas
from ui.images.desk import PRESS, PRIVATE, Desk
from ui.images.form import Fields, whole
from ui.toasts import toasts

SIDES = ("left", "top", "right", "bottom")


def _picture(label: str, elem_id: str, height: int) -> gr.Image:
    """Its file comes as it was sent: the engine says what is wrong with a broken one, where Gradio's reading fails."""
    part = gr.Image(
        label=label, type="filepath", image_mode=None, sources=["upload", "clipboard"], height=height, buttons=[],
        elem_id=elem_id,
    )  # fmt: skip
    part.preprocess = _as_sent  # type: ignore[method-assign]
    return part


def _as_sent(payload: FileData | None) -> str | None:
    return payload.path if payload else None


def build(fields: Fields) -> Begun:
    """Where it is called; `line` is to be rendered where it is to be seen."""
    picture = _picture("Picture", "image-picture", 200)
    strength = Form(ImageParams, only=("strength",), prefix="image").components[0]
    with gr.Accordion("Draw only a part anew", open=False, elem_id="image-part"):
        gr.HTML("<p class=quiet>Paint over what should be drawn anew; the rest stays as it is.</p>", padding=False)
        editor = gr.ImageEditor(
            type="pil", sources=(), transforms=(), layers=False, show_label=False, buttons=[], height=380,
            brush=gr.Brush(default_size=40, colors=["#14b8a6"], default_color="#14b8a6", color_mode="fixed"),
            elem_id="image-editor",
        )  # fmt: skip
    with gr.Accordion("More canvas around it", open=False, elem_id="image-canvas"):
        gr.HTML("<p class=quiet>Pixels added on each side, multiples of 8; what is there goes on.</p>", padding=False)
        with gr.Row(elem_classes="fields"):
            sides = [
                gr.Textbox("0", label=one.capitalize(), max_lines=1, min_width=90, elem_id=f"image-{one}")
                for one in SIDES
            ]
    with gr.Accordion("Keep to lines, depth or pose (ControlNet)", open=False, elem_id="image-control"):
        model, scale = Form(ImageParams, only=("control_model", "control_scale"), prefix="image").components
        control = _picture("Control picture", "image-control-image", 160)
    mask = gr.State("")  # the file of what was painted; what the editor sends can be read once only, so by `on_paint`
    fields.add(picture=picture, strength=strength, mask=mask, **dict(zip(SIDES, sides, strict=True)))
    fields.add(control_model=model, control_scale=scale, control_image=control)

    line = gr.HTML(elem_id="image-from", padding=False, js_on_load=PRESS, render=False)
    begun = Begun(picture, editor, mask, line, tuple(sides))
    # Not `change`: in Gradio 6.31 an image that is drawn anew tells it again, round and round.
    for event in (picture.upload, picture.clear):
        given = event(toasts(begun.given), picture, begun.outputs, **PRIVATE)
        given.failure(lambda: begun.put(""), None, begun.outputs, **PRIVATE)  # what can't be read is not begun from
    line.drop(lambda: begun.put(""), None, begun.outputs, **PRIVATE)

    @toasts
    def on_paint(painted: dict[str, Any] | None, path: str | None, *added: str) -> list[Any]:
        if not path:
            return ["", ""]
        drawn = canvas.painted((painted or {}).get("layers") or [], opened(path).size)
        place = str(fresh(picture) / "mask.png") if drawn else ""
        if drawn:
            drawn.save(place)
        return [place, _from(path, place, *added)]

    # Not `change`: where the accordion was closed as the picture came, it is not told of the first stroke.
    editor.input(on_paint, [editor, picture, *sides], [mask, line], trigger_mode="always_last", **PRIVATE)
    for side in sides:
        side.input(_from, [picture, mask, *sides], line, trigger_mode="always_last", **PRIVATE)
    return begun


@dataclass(frozen=True)
class Begun:
    """The picture that drawing begins from; `line` says so beside the prompt, and how to go without."""

    picture: gr.Image
    editor: gr.ImageEditor
    mask: gr.State
    line: gr.HTML
    sides: tuple[gr.Textbox, ...]

    @property
    def outputs(self) -> list[Any]:
        return [self.picture, self.editor, self.mask, self.line, *self.sides]

    def put(self, path: str) -> dict[Any, Any]:
        """Updates that show it; '' takes it away. What was painted on the last one or put around it is gone with it."""
        base = {"background": canvas.roomy(opened(path)), "layers": [], "composite": None} if path else None
        shown = {self.picture: path or None, self.editor: base, self.mask: "", self.line: _from(path)}
        return shown | dict.fromkeys(self.sides, "0")

    def given(self, path: str | None) -> dict[Any, Any]:
        """The same for one that was uploaded here."""
        return self.put(path or "") | {self.picture: gr.skip()}


def _from(path: str | None, mask: str = "", *added: str) -> str:
    """What is begun from, beside the prompt; `added` are pixels at the sides, as they were typed."""
    if not path:
        return ""
    around = any(one.strip(" 0") for one in added)
    parts = ["what you painted over"] * bool(mask) + ["the canvas around it"] * around
    part = f"only {' and '.join(parts)}" if parts else "all of it"
    button = '<button type="button" data-act="drop">Without it</button>'
    return f"Begins from the picture you gave: {part} {'are' if len(parts) > 1 else 'is'} drawn anew {button}"


def asked(desk: Desk, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the pictures of the form add to a request. Raises BadInput."""
    more: dict[str, Any] = {}
    if given["control_model"] or given["control_image"]:  # of one alone the engine says what is missing
        more |= {name: given[name] for name in ("control_model", "control_image", "control_scale")}
    path = given["picture"]
    if not path:
        return more
    more |= {"image": path, "strength": given["strength"]}
    left, top, right, bottom = (whole(given[one] or "0", one.capitalize()) for one in SIDES)
    if any((left, top, right, bottom)):
        image, ground = canvas.extended(opened(path), (left, top, right, bottom))
        if given["mask"]:
            ground.paste(255, (left, top), opened(given["mask"], "L"))
        folder = desk.fresh()
        image.save(folder / "canvas.png")
        ground.save(folder / "mask.png")
        return more | {"image": str(folder / "canvas.png"), "mask": str(folder / "mask.png"),
                       "width": image.width, "height": image.height, "strength": 1.0}  # fmt: skip
    return more | ({"mask": given["mask"]} if given["mask"] else {})
