"""The pictures of a visitor: the stage with one of them, the strip of all, and what is done with one."""

from __future__ import annotations

from typing import Any

import gradio as gr

from backend.engines.picture import opened
from ui.images import canvas, told
from ui.images.begin import Begun
from ui.images.desk import MANY, PAGE, PLACED, PRESS, PRIVATE, Desk, Views
from ui.images.form import STARTER, Fields, another
from ui.page import HIDDEN
from ui.toasts import silently, toasts
from ui.visitor import owner

VARIED = 0.55  # strength of a variation
# How a picture that was enlarged is drawn anew: by the starter, and by all others. The starter knows 64 × 64 alone:
# with more noise than this, or told what to draw, it draws that again in each part.
ENLARGED: dict[str, dict[str, Any]] = {
    STARTER: {"steps": 20, "strength": 0.06, "guidance": 1.0, "negative_prompt": ""},
    "": {"strength": 0.3},
}


def build(desk: Desk, fields: Fields, begun: Begun, page_loads: Any) -> None:
    """The listeners of stage and strip, and the slider of two below them. `page_loads` is the page's load event."""
    held = gr.State("")
    slider = gr.ImageSlider(
        interactive=False, show_label=False, buttons=["fullscreen"], visible=HIDDEN, max_height=400,
        elem_id="image-slider",
    )  # fmt: skip
    hint = gr.HTML(elem_id="image-hint", padding=False, js_on_load=PRESS)
    stage, strip = desk.stage, desk.strip

    @toasts
    def on_load(most: int, request: gr.Request) -> list[Any]:
        """The newest picture is on the stage again after a reload."""
        return list(desk.newest(owner(request), most))

    @toasts
    def on_open(first: str, most: int, event: gr.EventData, request: gr.Request) -> list[Any]:
        """On the stage; beside the `first` one when that waits for another."""
        who = owner(request)
        one = desk.picture(str(event.picture), who)
        beside = [gr.skip()] * 3
        if first and first != one["name"]:
            other = desk.picture(first, who)
            pair = canvas.alike(opened(other["file"]), opened(one["file"]))
            beside = [gr.update(value=pair, visible=True), told.pair(other, one), ""]
        return [desk.large(one), desk.row(who, one["name"], most), one["name"], *beside]

    def on_compare(event: gr.EventData) -> list[Any]:
        return [str(event.picture), told.WAITS, gr.update(visible=HIDDEN, value=None)]

    @toasts
    def on_reuse(event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        return fields.fill(desk.picture(str(event.picture), owner(request))["settings"])

    @toasts
    def on_begin(event: gr.EventData, request: gr.Request) -> dict[Any, Any]:
        one = desk.picture(str(event.picture), owner(request))
        words = str(one["settings"].get("prompt") or "")
        return begun.put(desk.cached(one["file"])) | {fields["prompt"]: words}

    @toasts
    def on_remove(most: int, event: gr.EventData, request: gr.Request) -> list[Any]:
        """The next one takes its place on the stage."""
        who, name = owner(request), str(event.picture)
        before = [one["name"] for one in desk.lab.pictures.list(who)]
        desk.forget(name, who)
        every = desk.lab.pictures.list(who)
        if not every:
            return [told.EMPTY, told.strip([], "", 0), ""]
        place = before.index(name) if name in before else 0
        one = every[min(place, len(every) - 1)]
        return [desk.large(one), desk.row(who, one["name"], most), one["name"]]

    def on_more(most: int, chosen: str, request: gr.Request) -> list[Any]:
        return [most + PAGE, desk.row(owner(request), chosen, most + PAGE)]

    def again(event: gr.EventData, request: gr.Request, **more: Any) -> dict[str, Any]:
        """The request that drew a picture, begun from it."""
        one = desk.picture(str(event.picture), owner(request))
        kept = {name: value for name, value in one["settings"].items() if name in AGAIN}
        return {"prompt": "a picture", **kept, "image": one["file"], **more}

    @toasts
    def on_vary(most: int, event: gr.EventData, request: gr.Request) -> Views:
        asked = again(event, request, seed=int(another()), strength=VARIED, enlarge=1)
        for _, updates in desk.drawn([asked], most, request):
            yield updates

    @toasts
    def on_enlarge(most: int, event: gr.EventData, request: gr.Request) -> Views:
        asked = again(event, request, enlarge=int(event.times), width=0, height=0)
        asked |= ENLARGED.get(str(asked.get("model") or STARTER), ENLARGED[""])
        for _, updates in desk.drawn([asked], most, request):
            yield updates

    shown = [stage, strip, desk.chosen]
    page_loads(on_load, desk.most, shown, **PRIVATE)
    strip.open(on_open, [held, desk.most], [*shown, slider, hint, held], **PRIVATE)
    strip.more(silently(on_more), [desk.most, desk.chosen], [desk.most, strip], **PRIVATE)
    stage.compare(on_compare, None, [held, hint, slider], **PRIVATE)
    hint.close(lambda: ["", "", gr.update(visible=HIDDEN, value=None)], None, [held, hint, slider], **PRIVATE)
    stage.reuse(on_reuse, None, fields.components, **PRIVATE).success(None, None, None, js=PLACED, **PRIVATE)
    stage.begin(on_begin, None, [*begun.outputs, fields["prompt"]], **PRIVATE).success(
        None, None, None, js=PLACED, **PRIVATE
    )
    stage.remove(on_remove, desk.most, shown, **PRIVATE)
    for press in (
        stage.vary(on_vary, desk.most, desk.outputs, **PRIVATE, **MANY),
        stage.enlarge(on_enlarge, desk.most, desk.outputs, **PRIVATE, **MANY),
    ):
        press.failure(desk.idle, None, [desk.draw, desk.stop], **PRIVATE)


AGAIN = ("prompt", "negative_prompt", "model", "adapters", "steps", "guidance", "width", "height", "seed", "scheduler")
