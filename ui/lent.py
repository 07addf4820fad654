"""ZeroGPU on the page: it asks for the next slice of its owner's runs, and shows what is left of their time."""

from __future__ import annotations

import html
from typing import Any

import gradio as gr

from backend.lab import Lab
from ui import sign_in
from ui.page import PRIVATE, Page
from ui.toasts import silently, toasts
from ui.visitor import owner

# A press is told; to sign in is what the button of the header does, also inside a frame.
PRESS = """element.addEventListener("click", event => {
  const pressed = event.target.closest("button[data-way]");
  if (!pressed) return;
  if (pressed.dataset.way === "sign-in") document.querySelector("#sign-in")?.click();
  else trigger("act", {...pressed.dataset});
});"""


def name(where: str) -> str:
    """The header's first words, as HTML."""
    return f"<h1>Atelier</h1> <span id=where>{html.escape(where)}</span>"


def bar(lab: Lab) -> gr.HTML | None:
    """Where a refusal is told with what can be done about it; nothing elsewhere than on ZeroGPU."""
    return gr.HTML(elem_id="refused", js_on_load=PRESS, padding=False) if lab.lending.on else None


def ways(told: dict[str, str], rents: bool, signs_in: bool) -> str:
    """A run that ZeroGPU does not take on now, and buttons for what else there is, as HTML; '' for none."""
    if not told:
        return ""
    run = html.escape(told["run"])
    buttons = [("cpu", "Go on with the CPU here")]
    buttons += [("sign-in", "Sign in for more time")] if signs_in else []
    buttons += [("rent", "Rent a GPU for it")] if rents else []
    pressed = "".join(
        f'<button type="button" class="chip" data-way="{way}" data-run="{run}">{title}</button>'
        for way, title in buttons
    )
    return f"<p><b>Run {run} waits.</b> {html.escape(told['why'])} It goes on by itself when it can. {pressed}</p>"


def lent(lab: Lab, page: Page, header: gr.HTML, refused: gr.HTML | None) -> None:
    """Nothing, elsewhere than on ZeroGPU.

    Each slice needs a fresh request of the visitor, through the queue: only there does the browser say who it is.
    """
    if refused is None:
        return

    @toasts
    def turn(request: gr.Request) -> None:
        lab.lending.turn(owner(request))

    @silently
    def left(request: gr.Request) -> str:
        return name(lab.lending.left(owner(request)))

    def waiting(who: str) -> str:
        rents = "hf_jobs" in [name for name, *_ in lab.places(who)]
        return ways(lab.lending.refused(who), rents, sign_in.offered(lab) and not who.startswith("user-"))

    @silently
    def look(request: gr.Request) -> str:
        return waiting(owner(request))

    @toasts
    def on_way(event: gr.EventData, request: gr.Request) -> list[Any]:
        """[refused, run, clone, tabs, going]"""
        who, way, run = owner(request), str(event._data.get("way")), str(event._data.get("run"))
        if way == "cpu":
            lab.resume(run, who, "local")
            return [waiting(who), "", gr.skip(), gr.Tabs(selected="run"), run]
        if way == "rent":
            gr.Info("Everything is as it was: choose Hugging Face Jobs at the step Where.")
            return [gr.skip(), gr.skip(), run, gr.Tabs(selected="tune"), ""]
        return [*[gr.skip()] * 4, ""]

    gr.Timer(4).tick(look, None, refused, queue=False, **PRIVATE)
    going = gr.State("")  # the run that goes on; put away and opened again, or its page would not look anew
    pressed = refused.act(on_way, None, [refused, page.run, page.clone, page.tabs, going], **PRIVATE)
    pressed.success(lambda run: run or gr.skip(), going, page.run, **PRIVATE)
    gr.Timer(2).tick(turn, None, None, concurrency_limit=None, trigger_mode="once", **PRIVATE)
    gr.Timer(10).tick(left, None, header, queue=False, **PRIVATE)
    page.blocks.load(left, None, header, queue=False, **PRIVATE)
