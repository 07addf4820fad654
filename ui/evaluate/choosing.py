"""Which answer is better, where no metric says it: a model as judge, and one's own blind choice."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import gradio as gr

from backend.recipes import RECIPES
from backend.recipes.judge import CRITERIA
from ui.evaluate import told as said
from ui.evaluate.desk import PRIVATE, Desk, Panel, Told
from ui.toasts import toasts
from ui.visitor import owner

# The keys work while the pair has the focus; a choice keeps it there.
KEYS = """const choose = pressed => trigger("choose", {
  choice: pressed.dataset.choice, place: element.querySelector("[data-place]").dataset.place
});
element.addEventListener("click", event => {
  const pressed = event.target.closest("button[data-choice]");
  if (pressed) choose(pressed);
});
element.addEventListener("keydown", event => {
  const pressed = element.querySelector(`[data-key="${event.key}"]`);
  if (pressed && !event.ctrlKey && !event.metaKey && !event.altKey) { event.preventDefault(); choose(pressed); }
});
watch("value", () => setTimeout(() => element.querySelector(".arena-pair")?.focus({preventScroll: true}), 30));"""
_BEGIN = '<p class="quiet">Two answers at a time, without names. Choose by key or click; the names come at the end.</p>'


def build(desk: Desk, models: gr.Dropdown) -> Panel:
    """The tabs Judge and Arena. `models` are those chosen above, whom prompts of one's own are put to."""
    lab, starter = desk.lab, RECIPES["judge"].params.model_fields["judge"].default
    with gr.Tab("Judge", id="judge"):
        with gr.Row(elem_classes="beside"):
            judge = gr.Dropdown(
                [starter], value=starter, allow_custom_value=True, label="Judge", scale=3, min_width=300,
                info="A small model judges badly; see whether it agrees with itself", elem_id="evaluate-judge",
            )  # fmt: skip
            criteria = gr.Textbox(CRITERIA, label="What counts", max_lines=3, scale=3, min_width=240,
                                  elem_id="evaluate-criteria")  # fmt: skip
            most = gr.Textbox("50", label="Rows", info="0 are all", scale=0, min_width=90, max_lines=1,
                              elem_id="evaluate-judge-rows")  # fmt: skip
        ask = gr.Button("Ask the judge", size="sm", scale=0, min_width=140, elem_id="evaluate-ask-judge")
        verdicts = gr.HTML(elem_id="evaluate-verdicts", padding=False)
    with gr.Tab("Arena", id="arena"):
        with gr.Row(elem_classes="ways"):
            begin = gr.Button("Begin, or go on", size="sm", scale=0, min_width=140, elem_id="evaluate-arena-begin")
            reveal = gr.Button("Show ratings and names", size="sm", scale=0, min_width=180, elem_id="evaluate-reveal")
            tune = gr.Button("Tune on my choices", size="sm", scale=0, min_width=150, elem_id="evaluate-arena-tune")
        pair = gr.HTML(_BEGIN, js_on_load=KEYS, elem_id="evaluate-arena", padding=False)
        standing = gr.HTML(elem_id="evaluate-standing", padding=False)
        with gr.Accordion("Prompts of your own", open=False, elem_id="evaluate-own"):
            prompts = gr.Textbox(
                label="A prompt a line", lines=4, max_lines=12, elem_id="evaluate-prompts",
                info="The models chosen above answer them; then choose here",
            )  # fmt: skip
            put = gr.Button("Ask these", size="sm", scale=0, min_width=120, elem_id="evaluate-put")

    @toasts
    def on_ask(run_id: str, judge: str, criteria: str, most: str, request: gr.Request) -> list[Any]:
        asked = {"answers": f"run/{run_id}", "judge": judge or "", "criteria": criteria or CRITERIA, "max_rows": most}
        run = lab.launch(
            "judge", {key: value for key, value in asked.items() if value != ""}, owner(request), desk.where
        )
        return [run.id, gr.Timer(active=True)]

    @toasts
    def on_begin(run_id: str, request: gr.Request) -> list[Any]:
        return [said.pair(lab.arena.next(run_id, owner(request))), ""]

    @toasts
    def on_choose(run_id: str, event: gr.EventData, request: gr.Request) -> str:
        choice, place = str(event.choice), int(event.place)
        if choice == "back":
            return said.pair(lab.arena.next(run_id, owner(request), lab.arena.before(run_id, owner(request), place)))
        return said.pair(lab.arena.choose(run_id, owner(request), place, choice))

    @toasts
    def on_reveal(run_id: str, request: gr.Request) -> str:
        told = lab.arena.standing(run_id, owner(request))
        return said.ratings(told["ratings"])

    @toasts
    def on_put(prompts: str, models: list[str], request: gr.Request) -> list[Any]:
        who = owner(request)
        folder = Path(desk.file.GRADIO_CACHE) / secrets.token_hex(16)
        folder.mkdir(parents=True)
        name = lab.arena.prompts(prompts or "", who, folder)
        asked = {"models": models or [], "dataset": name, "metrics": ["length"], "max_new_tokens": 128}
        return [lab.launch("evaluate", asked, who, desk.where).id, gr.Timer(active=True)]

    @toasts
    def on_tune(run_id: str, request: gr.Request) -> list[Any]:
        return [lab.arena.standing(run_id, owner(request))["dataset"], gr.Tabs(selected="tune")]

    @toasts
    def on_judges(request: gr.Request) -> Any:
        return gr.update(choices=[entry.name for entry in lab.models(owner=owner(request))])

    def draw(told: Told, who: str) -> list[Any]:
        return [said.judged(lab.evaluations.judged(told["id"], who)), _BEGIN, ""]

    judge.focus(on_judges, None, judge, **PRIVATE)
    ask.click(on_ask, [desk.shown, judge, criteria, most], desk.begun, trigger_mode="once", **PRIVATE)
    begin.click(on_begin, desk.shown, [pair, standing], **PRIVATE)
    pair.choose(on_choose, desk.shown, pair, **PRIVATE)
    reveal.click(on_reveal, desk.shown, standing, **PRIVATE)
    put.click(on_put, [prompts, models], desk.begun, trigger_mode="once", **PRIVATE)
    tune.click(on_tune, desk.shown, [desk.page.dataset, desk.page.tabs], **PRIVATE)
    return Panel([verdicts, pair, standing], draw)
