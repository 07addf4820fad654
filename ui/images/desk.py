"""What the panels of the Images tab share: the fields of a request, its pictures, and the drawing of them."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr
from gradio.processing_utils import save_file_to_cache

from backend import events as ev
from backend.errors import BadInput, NotFound
from backend.lab import Lab
from ui.after import fresh
from ui.answers import folded
from ui.images import told
from ui.images.drawing import Drawing
from ui.page import HIDDEN
from ui.visitor import owner

PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
MANY = {"concurrency_limit": 64}  # visitors for whom is drawn, or who wait in line
PAGE = 48  # pictures of the strip that are shown at first, and with each press on More
PLACED = "() => { document.getElementById('image-prompt')?.scrollIntoView({behavior: 'smooth', block: 'nearest'}); }"
# What is pressed is told by an event of its own; a press that can't be undone is asked for twice.
PRESS = """const known = ["open", "more", "reuse", "vary", "begin", "enlarge", "compare", "remove", "example", "close",
  "drop"];
element.addEventListener("click", event => {
  const pressed = event.target.closest("[data-act]");
  if (pressed?.dataset.act === "link") {
    const link = new URL(location);
    link.search = `?tab=images&${pressed.dataset.link}`;
    history.replaceState(history.state, "", link);
    navigator.clipboard?.writeText(link.href).catch(() => {});
    pressed.textContent = "In the address bar, and copied";
    return;
  }
  if (!pressed || !known.includes(pressed.dataset.act)) return;
  if (pressed.dataset.sure && !pressed.classList.contains("sure")) {
    const was = pressed.textContent;
    pressed.classList.add("sure");
    pressed.textContent = pressed.dataset.sure;
    setTimeout(() => { pressed.classList.remove("sure"); pressed.textContent = was; }, 4000);
  } else {
    if (pressed.dataset.done) {
      const was = pressed.textContent;
      pressed.textContent = pressed.dataset.done;
      setTimeout(() => { pressed.textContent = was; }, 2000);
    }
    trigger(pressed.dataset.act, {...pressed.dataset});
  }
});
const local = () => element.querySelectorAll("time").forEach(time => {
  const at = new Date(time.dateTime);
  if (!Number.isNaN(at.getTime())) time.textContent = at.toLocaleString();
});
local();
watch("value", local);"""

Views = Generator[dict[Any, Any], None, None]


@dataclass(frozen=True)
class Desk:
    """One page's Images tab. `chosen` holds the name of the picture on the stage, `most` how many the strip shows."""

    lab: Lab
    stage: gr.HTML
    strip: gr.HTML
    chosen: gr.State
    most: gr.State
    draw: gr.Button
    stop: gr.Button
    stops: dict[str, threading.Event] = field(default_factory=dict)  # of what is being drawn, by the page that asked
    paces: dict[str, tuple[float, int]] = field(default_factory=dict)  # model: (seconds a step, its own steps)

    @property
    def outputs(self) -> list[Any]:
        """What drawing fills."""
        return [self.stage, self.strip, self.chosen, self.draw, self.stop]

    # -- pictures -----------------------------------------------------------------------------------------------

    def address(self, path: str | Path) -> str:
        """Where the page finds a file of this visitor; a copy in Gradio's cache, whose folders can't be guessed."""
        return "gradio_api/file=" + quote(self.cached(path))

    def cached(self, path: str | Path) -> str:
        """The place of that copy."""
        return save_file_to_cache(path, self.stage.GRADIO_CACHE)

    def fresh(self) -> Path:
        """A new folder for files of one request; its name can't be guessed."""
        return fresh(self.stage)

    def picture(self, name: str, who: str) -> dict[str, Any]:
        """{name, file, settings, made} of one in the gallery of `who`. Raises NotFound."""
        found = next((one for one in self.lab.pictures.list(who) if one["name"] == name), None)
        if found is None:
            raise NotFound("That picture is gone.", "It was deleted, perhaps in another tab; choose another.")
        return dict(found)

    def large(self, picture: Mapping[str, Any], notes: Sequence[str] = ()) -> str:
        """The stage with a picture on it."""
        return told.large(self.address(picture["file"]), picture, notes)

    def row(self, who: str, chosen: str, most: int) -> str:
        """The strip of the newest pictures."""
        every = self.lab.pictures.list(who)
        shown = [{**one, "address": self.address(one["file"])} for one in every[:most]]
        return told.strip(shown, chosen, len(every))

    def newest(self, who: str, most: int) -> list[str]:
        """Of stage, strip and chosen: the last picture that `who` has drawn, or that there is none."""
        every = self.lab.pictures.list(who)
        if not every:
            return [told.EMPTY, told.strip([], "", 0), ""]
        return [self.large(every[0]), self.row(who, every[0]["name"], most), every[0]["name"]]

    def forget(self, name: str, who: str) -> None:
        """Delete a picture, and the copy that the page was shown."""
        copy = Path(self.cached(self.picture(name, who)["file"]))
        self.lab.pictures.remove(who, name)
        shutil.rmtree(copy.parent, ignore_errors=True)

    # -- drawing ------------------------------------------------------------------------------------------------

    def drawn(
        self, requests: Sequence[dict[str, Any]], most: int, request: gr.Request
    ) -> Iterator[tuple[Drawing, Any]]:
        """Draw one request after the other: (the drawing so far, updates of the page), at most 15 times a second.

        Raises what the engine raises, when all is shown that was drawn before. Closing this stops it within a step.
        """
        page_id, who = str(request.session_hash), owner(request)
        if page_id in self.stops:
            raise BadInput("A picture is being drawn.", "Wait for its end, or press Stop.")
        stop_it = self.stops[page_id] = threading.Event()
        drawing = Drawing(of=sum(int(one.get("count") or 1) for one in requests), requests=len(requests))
        shown, pictures = "", 0
        busy = {self.draw: gr.update(visible=HIDDEN), self.stop: gr.update(visible=True, value="Stop")}
        try:
            yield drawing, {self.stage: told.stage(drawing), **busy}
            for _ in folded([drawing], [self._each(requests, who)], stop_it):
                new = {}
                if len(drawing.pictures) > pictures:
                    pictures = len(drawing.pictures)
                    name = drawing.pictures[-1]["name"]
                    new = {self.strip: self.row(who, name, most), self.chosen: name}
                if new or shown != (shown := told.stage(drawing)):
                    # Said more than once, as a page that is still being drawn may miss the first.
                    waits = {self.stop: gr.update(visible=True, value="Stop" if drawing.begun else "Leave line")}
                    yield drawing, {**busy, **waits, **new, **({} if drawing.over else {self.stage: shown})}
        finally:
            del self.stops[page_id]
        self._learn(requests, drawing)
        idle = {self.draw: gr.update(visible=True), self.stop: gr.update(visible=HIDDEN)}
        if drawing.error and not drawing.pictures:
            yield drawing, idle | dict(zip((self.stage, self.strip, self.chosen), self.newest(who, most), strict=True))
        else:
            whole = drawing.pictures and drawing.ended != "closed"
            last = self.large(drawing.pictures[-1], drawing.notes) if whole else told.stage(drawing)
            yield drawing, {**idle, self.stage: last}
        if drawing.error:
            raise drawing.error

    def _each(self, requests: Sequence[dict[str, Any]], who: str) -> Generator[ev.Event, None, None]:
        """The events of all requests, one after the other."""
        for one in requests:
            with closing(self.lab.stream("image", one, who)) as stream:
                yield from stream

    def halt(self, request: gr.Request) -> None:
        """Stop what is drawn for this page, or leave the line."""
        if going := self.stops.get(str(request.session_hash)):
            going.set()

    def idle(self) -> list[Any]:
        """Of draw and stop: after an error that nobody foresaw, too, the page must not wait."""
        return [gr.update(visible=True), gr.update(visible=HIDDEN)]

    def owner(self, request: gr.Request) -> str:
        return owner(request)

    def _learn(self, requests: Sequence[Mapping[str, Any]], drawing: Drawing) -> None:
        """How long a step takes, for what is told before the next."""
        if drawing.pace and (own := int(drawing.info.get("steps") or 0)):
            while len(self.paces) > 100:
                self.paces.pop(next(iter(self.paces)))
            self.paces[str(requests[-1].get("model") or "")] = (drawing.pace, own)

    def seconds(self, requests: Sequence[Mapping[str, Any]]) -> float:
        """How long these will take, about; 0 while nobody knows."""
        each = [self.paces.get(str(one.get("model") or "")) for one in requests]
        if not each or None in each:
            return 0.0
        return sum(
            pace[0] * (int(one.get("steps") or 0) or pace[1]) for one, pace in zip(requests, each, strict=True) if pace
        )
