"""Which of two answers is better: the ballot below them, and where the votes go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from backend.errors import BadInput
from backend.lab import Lab
from ui import conversation as talk
from ui.conversation import Conversation, Side
from ui.page import PRIVATE, Page
from ui.toasts import toasts
from ui.visitor import owner

CHOICES = (("a", "1 · First is better"), ("b", "2 · Second is better"), ("tie", "3 · Tie"), ("neither", "4 · Both bad"))


@dataclass(frozen=True)
class Ballot:
    """The buttons in their row, and below them what has been voted so far."""

    row: gr.Row
    buttons: Sequence[gr.Button]
    result: gr.Row
    told: gr.HTML
    tune: gr.Button
    save: gr.Button

    @property
    def outputs(self) -> list[Any]:
        return [self.row]

    @property
    def shown(self) -> dict[Any, Any]:
        return {self.row: gr.update(visible=True)}

    @property
    def hidden(self) -> dict[Any, Any]:
        return {self.row: gr.update(visible=False)}


def build(lab: Lab, page: Page) -> Ballot:
    with gr.Row(visible=False, elem_id="text-vote") as row:
        buttons = [gr.Button(words, size="sm", min_width=100, elem_id=f"text-vote-{key}") for key, words in CHOICES]
    with gr.Row(visible=False, elem_id="text-votes") as result:
        told = gr.HTML(padding=False, elem_classes="meter")
        tune = gr.Button("Tune with them", size="sm", scale=0, min_width=120, elem_id="text-votes-tune")
        save = gr.Button("Download", size="sm", scale=0, min_width=90, elem_id="text-votes-save")
    file = gr.HTML("", html_template="", js_on_load=_SAVE, visible="hidden")

    def on_tune(request: gr.Request) -> list[Any]:
        return [lab.votes.dataset(owner(request)), gr.Tabs(selected="tune")]

    tune.click(on_tune, None, [page.dataset, page.tabs], **PRIVATE)

    @toasts
    def on_save(request: gr.Request) -> dict[str, Any]:
        if not (text := lab.votes.text(owner(request))):
            raise BadInput("No answer was preferred yet.", "Vote for the first or the second one first.")
        return {"text": text}

    save.click(on_save, None, file, **PRIVATE)
    return Ballot(row, buttons, result, told, tune, save)


_SAVE = """watch("value", () => {
  if (!props.value?.text) return;
  atelier.download("preferences.jsonl", props.value.text);
  props.value = {};
});"""


def can_vote(sides: Sequence[Side]) -> bool:
    """Whether both sides answered the same: a preference is between two answers to one prompt."""
    told = [talk.prompt(side) for side in sides]
    answered = all(one and one[-1]["role"] == "assistant" and one[-1]["content"].strip() for one in told)
    return answered and len(told) == 2 and told[0][:-1] == told[1][:-1]


def listen(lab: Lab, ballot: Ballot, doc: gr.HTML) -> None:
    """Let the buttons vote on what `doc` shows."""

    def on_vote(verdict: str, conversation: Conversation, request: gr.Request) -> list[Any]:
        sides = talk.sides(conversation, "Compare")
        if not can_vote(sides):
            raise BadInput("There are no two answers to the same prompt.", "Press New, and ask both sides at once.")
        asked, (first, second) = [side["settings"] for side in sides], [talk.prompt(side) for side in sides]
        systems = {str(one.get("system") or "").strip() for one in asked}
        same = [{"role": "system", "content": one} for one in systems if one and len(systems) == 1]
        answers = (first[-1]["content"], second[-1]["content"])
        lab.votes.cast(owner(request), [*same, *first[:-1]], answers, (asked[0], asked[1]), verdict)
        return [*_marks(verdict), gr.update(visible=True), summary(lab.votes.counts(owner(request)))]

    def handler(verdict: str) -> Any:
        @toasts
        def on_click(conversation: Conversation, request: gr.Request) -> list[Any]:
            return on_vote(verdict, conversation, request)

        return on_click

    for (verdict, _), button in zip(CHOICES, ballot.buttons, strict=True):
        button.click(handler(verdict), doc, [*ballot.buttons, ballot.result, ballot.told], **PRIVATE)
    doc.change(lambda: _marks(""), None, list(ballot.buttons), **PRIVATE)


def _marks(verdict: str) -> list[Any]:
    return [gr.update(variant="primary" if key == verdict else "secondary") for key, _ in CHOICES]


def summary(counts: Mapping[str, int]) -> str:
    """`5 preferences kept, for training by DPO (first 3, second 2); 1 tie, 0 both bad`."""
    kept = counts["a"] + counts["b"]
    return (
        f"{kept:,} preference{'s' * (kept != 1)} kept in your data sets, ready for DPO "
        f"(first {counts['a']:,}, second {counts['b']:,}); {counts['tie']:,} tied, {counts['neither']:,} both bad"
    )
