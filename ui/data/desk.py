"""What the panels of the Data tab share: the view, whom it is asked for, and what each shows of a new dataset."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from backend.data import Source
from backend.lab import Lab
from ui.page import Page
from ui.visitor import owner, token

PLAIN: dict[str, Any] = {"padding": False, "apply_default_css": False}
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
BUSY = PRIVATE | {"show_progress": "minimal"}
# What is pressed is told with its data; the place to which a table was scrolled is kept when its figures arrive.
PRESS = """element.addEventListener("click", async event => {
  const pressed = event.target.closest("[data-act], [data-copy]");
  if (!pressed) return;
  event.preventDefault();
  const what = pressed.dataset.copy;
  if (!what) return trigger("act", {...pressed.dataset, ...(event.shiftKey ? {more: "1"} : {})});
  const panel = pressed.closest(".row-panel"), link = new URL(location);
  link.searchParams.set("row", panel.dataset.row);
  const words = what === "link" ? String(link) : panel.querySelector(`[data-${what}]`).textContent;
  await navigator.clipboard.writeText(words);
  pressed.textContent = "Copied";
});
element.addEventListener("change", event => {
  if (event.target.matches("[data-jump]")) trigger("act", {act: "jump", row: event.target.value});
});
let left = 0;
element.addEventListener("scroll", event => { left = event.target.scrollLeft; }, true);
watch("value", () => { const box = element.querySelector(".table-scroll"); if (box) box.scrollLeft = left; });"""

About = Mapping[str, Any]  # what `data.facts` tells


@dataclass(frozen=True)
class Desk:
    """One page's Data tab. `view` is a State with the dict of `ui.data.view`."""

    lab: Lab
    page: Page
    view: gr.State

    def source(self, view: Mapping[str, Any], request: gr.Request) -> Source:
        """The dataset of the view, for the one who asks."""
        names = {key: view[key] for key in ("dataset", "config", "split", "revision")}
        return Source(owner=owner(request), token=token(request), **names)

    def datasets(self, request: gr.Request) -> list[str]:
        """Names to choose from."""
        return [entry.name for entry in self.lab.datasets(owner(request))]

    def stopper(self, what: str) -> Callable[[gr.Request], None]:
        """Ends the work of this kind in this page, and says so: queued, since only then a toast arrives."""

        def stopped(request: gr.Request) -> None:
            if self.lab.data.stop(ticket(request, what)):
                gr.Info("Stopped.")

        return stopped


@dataclass(frozen=True)
class Panel:
    """Components that belong to the dataset shown, and a value for each of them when another is opened."""

    parts: Sequence[Any] = ()
    begin: Callable[[About], Sequence[Any]] = lambda about: ()


def ticket(request: gr.Request, what: str) -> str:
    """One piece of work of a kind at a time in a page."""
    return f"{what} {request.session_hash}"


def names(about: About, *kinds: str) -> list[str]:
    """Its columns, of these kinds alone when some are named."""
    return [one["name"] for one in about["columns"] if not kinds or one["kind"] in kinds]


def fresh(button: gr.DownloadButton) -> Path:
    """A new folder whose files Gradio may hand out; its name can't be guessed."""
    folder = Path(button.GRADIO_CACHE) / secrets.token_hex(16)
    folder.mkdir(parents=True)
    return folder
