"""Answers: a model writes one for each row, as a run; a person chooses the better of two, with the arrow keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from backend.data.pairs import Columns
from ui.data import told
from ui.data.desk import BUSY, PLAIN, PRIVATE, About, Desk, Panel, names
from ui.toasts import toasts
from ui.visitor import owner

# The keys work while the pair has the focus; a choice keeps it there.
KEYS = """const choose = pressed => trigger("act", {...pressed.dataset});
element.addEventListener("click", event => {
  const pressed = event.target.closest("[data-act]");
  if (pressed) choose(pressed);
});
element.addEventListener("keydown", event => {
  const pressed = element.querySelector(`[data-key="${event.key}"]`);
  if (pressed && !event.ctrlKey && !event.metaKey && !event.altKey) { event.preventDefault(); choose(pressed); }
});
watch("value", () => setTimeout(() => element.querySelector(".pair")?.focus({preventScroll: true}), 30));"""


def build(desk: Desk) -> tuple[Panel, Any]:
    """The panel, and the button that saves the pairs with its inputs and handler."""
    lab, view = desk.lab, desk.view
    with gr.Accordion("Have a model answer", open=False, elem_id="data-generate"):
        with gr.Row(elem_classes="fields"):
            column = gr.Dropdown([], label="Column with the prompts", min_width=140, elem_id="data-prompts")
            model = gr.Dropdown(
                [entry.name for entry in lab.models()], value=lab.models()[0].name, label="Model", min_width=180,
                allow_custom_value=True, elem_id="data-generate-model",
            )  # fmt: skip
            adapter = gr.Dropdown([("none", "")], value="", label="Adapter", min_width=120, allow_custom_value=True)
        with gr.Row(elem_classes="fields"):
            most = gr.Number(0, label="Rows", info="0 are all", precision=0, minimum=0, min_width=100)
            tokens = gr.Number(128, label="Longest answer, in tokens", precision=0, minimum=1, min_width=100)
            temperature = gr.Number(0.0, label="Temperature", info="0 takes the likeliest", minimum=0, min_width=100)
            answer = gr.Textbox("answer", label="New column", lines=1, max_lines=1, min_width=120)
        launch = gr.Button(
            "Answer as a run", variant="primary", size="sm", scale=0, min_width=150, elem_id="data-generate-run"
        )
    with gr.Accordion("Choose the better answer", open=False, elem_id="data-pairs"):
        with gr.Row(elem_classes="fields"):
            prompt = gr.Dropdown([], label="Prompt", min_width=140, elem_id="data-pair-prompt")
            first = gr.Dropdown([], label="One answer", min_width=140, elem_id="data-pair-first")
            second = gr.Dropdown([], label="The other", min_width=140, elem_id="data-pair-second")
        with gr.Row(elem_classes="ways"):
            begin_pairs = gr.Button(
                "Begin, or go on", variant="primary", size="sm", scale=0, min_width=140, elem_id="data-pair-begin"
            )
            save = gr.Button("Save as dataset", size="sm", scale=0, min_width=140, elem_id="data-pair-save")
        pair = gr.HTML(elem_id="data-pair", js_on_load=KEYS, **PLAIN)

    @toasts
    def on_generate(
        view: dict[str, Any],
        column: str,
        model: str,
        adapter: str,
        most: float,
        tokens: float,
        temperature: float,
        answer: str,
        request: gr.Request,
    ) -> list[Any]:
        asked = {key: view[key] for key in ("dataset", "config", "split", "revision")} | {
            "column": column or "", "model": model or "", "adapter": adapter or "", "max_rows": int(most or 0),
            "max_new_tokens": int(tokens or 1), "temperature": temperature or 0, "answer_column": answer,
        }  # fmt: skip
        run = lab.launch("generate", asked, owner(request))
        return [run.id, gr.Tabs(selected="run")]

    @toasts
    def on_adapters(model: str, request: gr.Request) -> Any:
        mine = [entry.name for entry in lab.adapters(owner(request), model or "")]
        return gr.update(choices=[("none", ""), *mine])

    @toasts
    def on_begin(view: dict[str, Any], prompt: str, first: str, second: str, request: gr.Request) -> str:
        return told.pair(
            lab.data.pairs.next(desk.source(view, request), Columns(prompt or "", first or "", second or ""))
        )

    @toasts
    def on_choose(
        view: dict[str, Any], prompt: str, first: str, second: str, event: gr.EventData, request: gr.Request
    ) -> str:
        pressed, columns = event._data, Columns(prompt or "", first or "", second or "")
        source = desk.source(view, request)
        return told.pair(lab.data.pairs.choose(source, columns, int(pressed["row"]), pressed["choice"]))

    @toasts
    def on_pairs(view: dict[str, Any], prompt: str, first: str, second: str, request: gr.Request) -> str:
        return lab.data.pairs.save(desk.source(view, request), Columns(prompt or "", first or "", second or ""))

    columns = [prompt, first, second]
    adapter.focus(on_adapters, model, adapter, **PRIVATE)
    launch.click(
        on_generate, [view, column, model, adapter, most, tokens, temperature, answer], [desk.page.run, desk.page.tabs],
        **BUSY,
    )  # fmt: skip
    begin_pairs.click(on_begin, [view, *columns], pair, **BUSY)
    pair.act(on_choose, [view, *columns], pair, **PRIVATE)

    def begin(about: About) -> Sequence[Any]:
        texts = names(about, "text", "chat")
        guess = {name: name for name in texts}
        answers = [name for name in texts if name not in ("prompt", "question", "text")]
        return [
            gr.update(choices=texts, value=guess.get("prompt", texts[0] if texts else None)),
            gr.update(choices=[("none", ""), *texts], value=guess.get("prompt", "")),
            gr.update(choices=texts, value=guess.get("chosen", answers[0] if answers else None)),
            gr.update(choices=texts, value=guess.get("rejected", answers[1] if len(answers) > 1 else None)),
            "",
        ]

    return Panel([column, *columns, pair], begin), (save, [view, *columns], on_pairs)
