"""The Hub: my repositories, finding others, what is on this machine, resources, secrets, what to read.

A few pieces of HTML that the server draws; they tell what was pressed (`act`) with the form it is in. Nothing is asked
of the Hub before somebody comes to the tab.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from backend.lab import Lab
from ui.hub import views
from ui.hub.desk import START, Desk
from ui.page import HIDDEN, PRIVATE, Page, shows
from ui.toasts import silently, toasts
from ui.visitor import owner

BUSY = PRIVATE | {"show_progress": "minimal"}
PLAIN: dict[str, Any] = {"padding": False, "apply_default_css": False}
# A press or a form is told with all its fields; what was typed into a password goes from the page with it.
ACT = """const tell = (what, event) => {
  event.preventDefault();
  const form = what.closest("form"), said = form ? Object.fromEntries(new FormData(form)) : {};
  trigger("act", {...said, ...what.dataset});
  form?.querySelectorAll("input[type=password]").forEach(field => { field.value = ""; });
};
element.addEventListener("click", event => {
  const pressed = event.target.closest("button[data-act]");
  if (pressed) tell(pressed, event);
});
element.addEventListener("submit", event => tell(event.target, event));"""
MODELS = {"chat": "text", "tune": "tune", "evaluate": "evaluate"}


def build(lab: Lab, page: Page) -> None:
    tab = gr.context.Context.block
    desk = Desk(lab, page)
    view = gr.State(dict(START))
    head = gr.HTML(views.head({}, True, ""), elem_id="hub-head", js_on_load=ACT, **PLAIN)
    transfers = gr.HTML(elem_id="hub-transfers", js_on_load=ACT, **PLAIN)
    fits = gr.HTML(elem_id="hub-fits", js_on_load=ACT, **PLAIN)
    body = gr.HTML(elem_id="hub-body", js_on_load=ACT, **PLAIN)
    upload = gr.UploadButton(
        "Upload files into it", file_count="multiple", size="sm", scale=0, min_width=170, visible=HIDDEN,
        elem_id="hub-upload",
    )  # fmt: skip
    timer = gr.Timer(1.5, active=False)
    shown = [view, head, transfers, body, fits, upload, timer]

    def draw(view: dict[str, Any], who: str, before: str = "") -> list[Any]:
        """`before` is the repository that was open already: what is told of it stays."""
        fit = gr.skip() if view["repository"] and view["repository"] == before else desk.beside(view, who)
        can = bool(view["repository"]) and silently(desk.hub.repositories.is_mine, lambda: False)(
            who, view["repository"]
        )
        update = gr.update(visible=shows(can))
        active = gr.Timer(active=desk.busy(view, who))
        return [view, desk.head(view, who), desk.transfers(who), desk.body(view, who), fit, update, active]

    @toasts
    def on_tab(view: dict[str, Any], request: gr.Request) -> list[Any]:
        """The first look; a later one finds what was left."""
        who = owner(request)
        return draw(view if view["pane"] else view | {"pane": desk.first(who)}, who)

    @toasts
    def on_act(view: dict[str, Any], event: gr.EventData, request: gr.Request) -> list[Any]:
        if event._data.get("act") in MODELS:  # on_wish answers it
            return [gr.skip()] * len(shown)
        who = owner(request)
        return draw(desk.acted(view, event._data, who), who, view["repository"])

    @toasts
    def on_wish(event: gr.EventData, request: gr.Request) -> list[Any]:
        """[chat_with, model, dataset, evaluate, tabs]: what another tab is to take over."""
        told = event._data
        act, kind, name = (str(told.get(key, "")) for key in ("act", "kind", "name"))
        if act not in MODELS:
            return [gr.skip()] * 5
        tabs = gr.Tabs(selected=MODELS[act])
        if kind == "dataset":
            return [
                gr.skip(),
                gr.skip(),
                name if act == "tune" else gr.skip(),
                name if act == "evaluate" else gr.skip(),
                tabs,
            ]
        if act == "chat":
            about = lab.hub.repositories.page(owner(request), kind, name)
            wish = [about["base"], name] if about["adapter"] and about["base"] else [name, ""]
            return [wish, *[gr.skip()] * 3, tabs]
        return [gr.skip(), [act, name], gr.skip(), gr.skip(), tabs]

    def on_fit(view: dict[str, Any], request: gr.Request) -> Any:
        """Told after the page is there: the engine reads the model's files for it."""
        if not view["repository"] or view["kind"] != "model":
            return gr.skip() if not view["repository"] else ""
        return silently(lambda: views.room(lab.fit(view["repository"], owner(request))), lambda: "")()

    @toasts
    def on_tick(view: dict[str, Any], request: gr.Request) -> list[Any]:
        who = owner(request)
        moves = view["pane"] == "machine" and not view["repository"]
        pane = desk.body(view, who) if moves else gr.skip()
        return [desk.transfers(who), pane, gr.Timer(active=desk.busy(view, who))]

    @toasts
    def on_upload(view: dict[str, Any], files: list[str], request: gr.Request) -> list[Any]:
        who = owner(request)
        given = {Path(one).name: Path(one) for one in files}
        lab.hub.transfers.upload(who, view["kind"], view["repository"], given)
        return draw(view, who, view["repository"])

    if isinstance(tab, gr.Tab):
        tab.select(on_tab, view, shown, **PRIVATE)
    for part in (head, transfers, fits, body):
        acted = part.act(on_act, view, shown, **BUSY)
    acted.success(on_fit, view, fits, **PRIVATE)
    body.act(on_wish, None, [page.chat_with, page.model, page.dataset, page.evaluate, page.tabs], **PRIVATE)
    upload.upload(on_upload, [view, upload], shown, **BUSY)
    timer.tick(on_tick, view, [transfers, body, timer], queue=False, **PRIVATE)
