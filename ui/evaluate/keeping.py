"""What is done with an evaluation: name, export, share, measure again, push, delete."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import gradio as gr

from ui import evaluate_views as drawn
from ui.evaluate.desk import PRESS, PRIVATE, Desk, Panel, Told
from ui.toasts import toasts
from ui.visitor import owner, token

EXPORTS = (".csv", ".md", ".json", ".parquet")
SHARE = """async () => {
  const url = new URL(location);
  url.searchParams.delete("run"); url.searchParams.set("tab", "evaluate");
  url.searchParams.set("evaluation", document.querySelector("#evaluate-head [data-evaluation]").dataset.evaluation);
  history.replaceState(history.state, "", url);
  try { await navigator.clipboard.writeText(url.href); } catch {}
  const link = `${url.pathname}${url.search}`;
  const said = "It opens for you alone, until you make the run public.";
  return `<p class="quiet">The link is in the address bar and copied: ${link}. ${said}</p>`;
}"""


class Keeping:
    """The row of actions. `deleted` is for what follows a delete."""

    def __init__(self, desk: Desk, header: gr.HTML, result: gr.Column, metrics: gr.Dropdown) -> None:
        with gr.Row(elem_id="evaluate-actions"):
            self.name = gr.Textbox(
                placeholder="Name it", show_label=False, container=False, max_lines=1, scale=1, min_width=140,
                elem_id="evaluate-name",
            )  # fmt: skip
            form_of = gr.Dropdown(
                [(one[1:].upper(), one) for one in EXPORTS], value=EXPORTS[0], show_label=False, container=False,
                scale=0, min_width=110, elem_id="evaluate-form",
            )  # fmt: skip
            export = _button("Export", "evaluate-export", 80)
            share = _button("Link", "evaluate-share", 70)
            rescore = _button("Measure again with the metrics above", "evaluate-rescore", 250)
            open_run = _button("Open the run", "evaluate-run", 110)
            delete = _button("Delete", "evaluate-delete", 80)
        linked = gr.HTML(elem_id="evaluate-linked", padding=False)
        with gr.Row(visible=False, elem_id="evaluate-sure") as sure:
            gr.HTML("Its answers and figures are deleted for good.", padding=False)
            yes = gr.Button("Delete it", variant="stop", size="sm", scale=0, min_width=100, elem_id="evaluate-yes")
            no = gr.Button("Keep it", size="sm", scale=0, min_width=90)
        self.panel = Panel([self.name, linked], lambda told, who: [told["name"], ""])
        lab, shown = desk.lab, desk.shown

        @toasts
        def on_name(run_id: str, called: str, request: gr.Request) -> str:
            lab.evaluations.note(run_id, owner(request), name=called)
            return drawn.head(lab.evaluations.results(run_id, owner(request)))

        @toasts
        def on_rescore(run_id: str, wanted: list[str], request: gr.Request) -> list[Any]:
            return [lab.evaluations.rescore(run_id, wanted, owner(request)).id, gr.Timer(active=True)]

        @toasts
        def on_delete(run_id: str, request: gr.Request) -> list[Any]:
            lab.evaluations.forget(run_id, owner(request))
            return ["", gr.update(visible=False), gr.update(visible=False)]

        @toasts
        def on_export(run_id: str, form: str, request: gr.Request) -> str:
            folder = Path(desk.file.GRADIO_CACHE) / secrets.token_hex(16)
            folder.mkdir(parents=True)
            return str(lab.evaluations.export(run_id, owner(request), folder / f"evaluation-{run_id}{form}"))

        self.name.submit(on_name, [shown, self.name], header, **PRIVATE)
        open_run.click(
            lambda run_id: [run_id, gr.Tabs(selected="run")], shown, [desk.page.run, desk.page.tabs], **PRIVATE
        )
        delete.click(lambda: gr.update(visible=True), None, sure, **PRIVATE)
        no.click(lambda: gr.update(visible=False), None, sure, **PRIVATE)
        self.deleted = yes.click(on_delete, shown, [shown, result, sure], **PRIVATE)
        export.click(on_export, [shown, form_of], desk.file, **PRIVATE).success(None, None, None, js=PRESS, **PRIVATE)
        share.click(None, None, linked, js=SHARE, **PRIVATE)
        rescore.click(on_rescore, [shown, metrics], desk.begun, trigger_mode="once", **PRIVATE)


def hub(desk: Desk) -> Panel:
    """Figures into a model's repository on the Hub: its card, and `.eval_results` for a dataset that is there."""
    with gr.Row(elem_classes="fields"):
        model = gr.Dropdown([], label="Figures of", min_width=180, elem_id="evaluate-push-model")
        repo = gr.Textbox(
            label="Model on the Hub", info="owner/name; you must be signed in", max_lines=1, min_width=220,
            elem_id="evaluate-repo",
        )  # fmt: skip
    push = _button("Write into its card", "evaluate-push", 160)
    told = gr.Markdown(elem_id="evaluate-pushed")

    @toasts
    def on_push(run_id: str, model: int, repo: str, request: gr.Request) -> str:
        address = desk.lab.evaluations.push(run_id, owner(request), int(model or 0), repo or "", token(request) or "")
        return f"They are at [{address}]({address})."

    def draw(told: Told, who: str) -> list[Any]:
        models = [(drawn.called(one["name"]), place) for place, one in enumerate(told["models"])]
        return [gr.update(choices=models, value=len(models) - 1), ""]

    push.click(on_push, [desk.shown, model, repo], told, trigger_mode="once", **PRIVATE)
    return Panel([model, told], draw)


def _button(title: str, elem_id: str, width: int) -> gr.Button:
    return gr.Button(title, size="sm", scale=0, min_width=width, elem_id=elem_id)
