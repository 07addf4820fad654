"""The sidebar: my runs, newest first. A click opens the run view."""

from __future__ import annotations

from typing import Any

import gradio as gr

from backend.lab import Lab
from ui import views
from ui.page import PRIVATE, Page
from ui.toasts import toasts
from ui.visitor import owner

PAGE = 50  # runs that "Show more" adds
PICK = """element.addEventListener("click", event => {
  const button = event.target.closest("button");
  if (button?.dataset.run) trigger("pick", {run: button.dataset.run});
  if (button?.dataset.more) trigger("more");
});"""
# Shows moments in the visitor's own time; the server writes them in UTC.
CLOCK = """() => {
  const clock = new Intl.DateTimeFormat(undefined, {timeStyle: "medium"});
  const date = new Intl.DateTimeFormat(undefined, {dateStyle: "medium", timeStyle: "short"});
  const local = () => document.querySelectorAll("time[datetime]").forEach(one => {
    const words = (one.dataset.clock === undefined ? date : clock).format(new Date(one.dateTime));
    if (one.textContent !== words) one.textContent = words;
  });
  new MutationObserver(local).observe(document.body, {childList: true, subtree: true, characterData: true});
  local();
}"""
# Open beside a wide page; on a narrow one it would lie over it.
WIDE = "() => innerWidth >= 1100"


def sidebar(lab: Lab, page: Page) -> None:
    """Draw it, and keep it true: it looks every 2 seconds and sends the list only when it changed."""
    with gr.Sidebar(position="right", open=False, width=300, elem_id="runs") as side:
        gr.HTML(f"<h2>Runs</h2>{views.note(lab.passing())}", padding=False)
        tune = "tune" in page.has
        listing = gr.HTML(views.listing([], tune=tune), elem_id="runs-list", js_on_load=PICK, padding=False)
    many, seen, wide = gr.State(PAGE), gr.Textbox("", visible=False), gr.Checkbox(visible=False)
    timer = gr.Timer(2)

    @toasts
    def look(many: int, shown: str, seen: str, request: gr.Request) -> list[Any]:
        runs = lab.runs(owner(request), many + 1)
        text = views.listing(runs[:many], shown, more=len(runs) > many, tune=tune)
        mark = str(views.mark(text))
        return [gr.skip(), gr.skip()] if mark == seen else [text, mark]

    def pick(event: gr.EventData) -> list[Any]:
        return [str(event.run)[:64], gr.Tabs(selected="run")]

    asks = [many, page.run, seen]
    timer.tick(look, asks, [listing, seen], queue=False, **PRIVATE)
    page.run.change(look, asks, [listing, seen], **PRIVATE)
    page.blocks.load(look, asks, [listing, seen], **PRIVATE)
    page.blocks.load(lambda wide: gr.Sidebar(open=wide), wide, side, js=WIDE, **PRIVATE)
    page.blocks.load(None, None, None, js=CLOCK, **PRIVATE)
    listing.pick(pick, None, [page.run, page.tabs], **PRIVATE)
    listing.more(lambda many: many + PAGE, many, many, **PRIVATE).then(look, asks, [listing, seen], **PRIVATE)
