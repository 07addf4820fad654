"""Models × data × metrics: which is better, by how much, whether that is real, and on which rows.

An evaluation is a run, so it goes on when the page is closed. What is shown is one evaluation, by its run's id.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from backend.evaluations import SHOWS
from backend.lab import Lab
from backend.metrics import METRICS
from backend.recipes import RECIPES
from ui import evaluate_views as drawn
from ui import views
from ui.forms import Form
from ui.page import Page
from ui.toasts import toasts
from ui.visitor import owner

RECIPE = "evaluate"
LENGTH = 10  # rows of a page
SEPARATE = (
    "models",
    "dataset",
    "metrics",
    "columns",
    "answers",
    "held_out_of",
)  # of the form: they have places of their own
BASIC = ("max_rows", "max_new_tokens")
EXPORTS = (".csv", ".md", ".json", ".parquet")
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
PICK = """element.addEventListener("click", event => {
  const button = event.target.closest("button");
  if (button?.dataset.open) trigger("open", {run: button.dataset.open});
  if (button?.dataset.pin) trigger("pin", {run: button.dataset.pin});
});"""
CELL = """element.addEventListener("click", event => {
  const button = event.target.closest("button[data-reference]");
  if (button) trigger("cell", {...button.dataset});
});"""
PRESS = "() => { setTimeout(() => document.querySelector('#evaluate-file')?.click(), 50); }"


def build(lab: Lab, page: Page) -> None:
    fields = RECIPES[RECIPE].params.model_fields
    where = lab.places()[0][0]
    shown, watched, offset, cell = gr.State(""), gr.State(""), gr.State(0), gr.State([])
    timer = gr.Timer(1, active=False)
    with gr.Row(elem_classes="beside"):
        models = gr.Dropdown(
            [], value=fields["models"].default, multiselect=True, allow_custom_value=True, label="Models", scale=4,
            info="The first is what the others are compared with; run/ID is what a run of yours made", min_width=260,
            elem_id="evaluate-models",
        )  # fmt: skip
        dataset = gr.Dropdown(
            [fields["dataset"].default], value=fields["dataset"].default, allow_custom_value=True, label="Dataset",
            info="A sample, a file of yours, or owner/name on the Hub", scale=2, min_width=220,
            elem_id="evaluate-dataset",
        )  # fmt: skip
        metrics = gr.Dropdown(
            [(one.title, name) for name, one in METRICS.items()], value=[], multiselect=True, label="Metrics", scale=3,
            info="None chosen takes those that fit the data", min_width=220, elem_id="evaluate-metrics",
        )  # fmt: skip
    with gr.Accordion("Settings", open=False, elem_id="evaluate-settings"):
        form = Form(RECIPES[RECIPE].params, BASIC, SEPARATE, prefix="evaluate")
        with gr.Accordion("What each metric says, and when not to trust it", open=False):
            gr.HTML(drawn.glossary(METRICS), padding=False)
    with gr.Row(elem_id="evaluate-buttons"):
        start = gr.Button("Evaluate", variant="primary", scale=0, min_width=150, elem_id="evaluate-start")
        example = gr.Button(
            "My last tuned model beside its base", size="sm", scale=0, min_width=250, elem_id="evaluate-example"
        )
        forgot = gr.Button("What did it forget?", size="sm", scale=0, min_width=160, elem_id="evaluate-forgot")
    going = gr.HTML(elem_id="evaluate-going", padding=False)
    with gr.Row():
        with gr.Column(scale=1, min_width=230):
            kept = gr.HTML(drawn.history([], ""), js_on_load=PICK, elem_id="evaluate-history", padding=False)
        with gr.Column(scale=4, min_width=320, elem_id="evaluate-shown", visible=False) as result:
            header = gr.HTML(elem_id="evaluate-head", padding=False)
            table = gr.HTML(elem_id="evaluate-table", padding=False)
            with gr.Row(elem_id="evaluate-actions"):
                name = gr.Textbox(
                    placeholder="Name it", show_label=False, container=False, max_lines=1, scale=1, min_width=140,
                    elem_id="evaluate-name",
                )  # fmt: skip
                form_of = gr.Dropdown(
                    [(one[1:].upper(), one) for one in EXPORTS], value=EXPORTS[0], show_label=False, container=False,
                    scale=0, min_width=110, elem_id="evaluate-form",
                )  # fmt: skip
                export = gr.Button("Export", size="sm", scale=0, min_width=80, elem_id="evaluate-export")
                rescore = gr.Button(
                    "Measure again with the metrics above",
                    size="sm",
                    scale=0,
                    min_width=250,
                    elem_id="evaluate-rescore",
                )
                open_run = gr.Button("Open the run", size="sm", scale=0, min_width=110, elem_id="evaluate-run")
                delete = gr.Button("Delete", size="sm", scale=0, min_width=80, elem_id="evaluate-delete")
            with gr.Row(visible=False, elem_id="evaluate-sure") as sure:
                gr.HTML("Its answers and figures are deleted for good.", padding=False)
                yes = gr.Button("Delete it", variant="stop", size="sm", scale=0, min_width=100, elem_id="evaluate-yes")
                no = gr.Button("Keep it", size="sm", scale=0, min_width=90)
            with gr.Tabs():
                with gr.Tab("Rows", id="rows"):
                    with gr.Row(elem_id="evaluate-filters"):
                        show = gr.Dropdown(
                            [one.capitalize() for one in SHOWS], value="All", label="Show", min_width=150,
                            elem_id="evaluate-show",
                        )  # fmt: skip
                        figure = gr.Dropdown([], label="By", min_width=150, elem_id="evaluate-figure")
                        part = gr.Dropdown([], label="Where", min_width=150, elem_id="evaluate-slice")
                        query = gr.Textbox(label="Find", max_lines=1, min_width=150, elem_id="evaluate-query")
                    chosen = gr.HTML(elem_id="evaluate-chosen", padding=False)
                    rows = gr.HTML(elem_id="evaluate-rows", padding=False)
                    with gr.Row(elem_id="evaluate-pager"):
                        back = gr.Button("Back", size="sm", scale=0, min_width=80, elem_id="evaluate-back")
                        more = gr.Button("More", size="sm", scale=0, min_width=80, elem_id="evaluate-more")
                with gr.Tab("Slices", id="slices"):
                    apart = gr.HTML(elem_id="evaluate-slices", padding=False)
                with gr.Tab("Confusion", id="confusion"):
                    matrix = gr.HTML(js_on_load=CELL, elem_id="evaluate-confusion", padding=False)
                with gr.Tab("Leaderboard", id="board"):
                    leaders = gr.HTML(elem_id="evaluate-board", padding=False)
                with gr.Tab("Code", id="code") as coded:
                    code = gr.Code(language="python", interactive=False, elem_id="evaluate-code", max_lines=30)
    file = gr.DownloadButton(visible="hidden", elem_id="evaluate-file")

    asks = [models, dataset, metrics, *form.components]
    view = [result, header, table, name, figure, part, apart, matrix, leaders]
    filters = [show, figure, part, query]

    def params(chosen_models: Any, data: Any, chosen_metrics: Any, *values: Any) -> dict[str, Any]:
        return form.read(*values) | {
            "models": chosen_models or [],
            "dataset": data or "",
            "metrics": chosen_metrics or [],
        }

    @toasts
    def on_start(request: gr.Request, *values: Any) -> list[Any]:
        run = lab.launch(RECIPE, params(*values), owner(request), where)
        return [run.id, gr.Timer(active=True)]

    @toasts
    def on_example(request: gr.Request) -> list[Any]:
        run_id = _tuned(lab, owner(request))
        models = [lab.status(run_id, owner(request))["params"]["model"], f"run/{run_id}"]
        return [
            models,
            "sample/evaluation",
            lab.launch(RECIPE, {"models": models}, owner(request), where).id,
            gr.Timer(active=True),
        ]

    @toasts
    def on_forgot(request: gr.Request) -> list[Any]:
        run_id = _tuned(lab, owner(request))
        models = [lab.status(run_id, owner(request))["params"]["model"], f"run/{run_id}"]
        asked = {"models": models, "dataset": "sample/forgetting"}
        return [models, "sample/forgetting", lab.launch(RECIPE, asked, owner(request), where).id, gr.Timer(active=True)]

    @toasts
    def on_tick(going_on: str, request: gr.Request) -> list[Any]:
        """How the evaluation that is watched goes; its results once it has them, and then the next one."""
        who = owner(request)
        status = lab.status(going_on, who) if going_on else None
        if status and status["state"] in views.LIVING:
            return [drawn.progress(status), gr.skip(), gr.skip(), gr.Timer(active=True), *[gr.skip()] * len(view)]
        after = living(who)
        then = [after, gr.Timer(active=bool(after))]
        if status is None or status["state"] != "finished":
            told = drawn.progress(status) if status else ""
            return [told, then[0], gr.skip(), then[1], *[gr.skip()] * len(view)]
        return ["", then[0], going_on, then[1], *look(going_on, who)]

    def living(who: str) -> str:
        """An evaluation of theirs that is under way or waits, the oldest."""
        mine = [run for run in lab.runs(who, 20) if run["recipe"] == RECIPE and run["state"] in views.LIVING]
        return str(mine[-1]["id"]) if mine else ""

    @toasts
    def on_load(request: gr.Request) -> list[Any]:
        """A page that is opened again goes on watching."""
        found = living(owner(request))
        return [found, gr.Timer(active=bool(found))]

    def look(run_id: str, who: str) -> list[Any]:
        """An update for each of `view`."""
        told = lab.evaluations.results(run_id, who)
        figures = [(one["title"], one["figure"]) for one in told["figures"] if one["model"] == 0]
        first = figures[0][1] if figures else ""
        parts = [("Everywhere", "")] + [
            (f"{column}: {value}", f"{column}\n{value}")
            for column, value in dict.fromkeys((one["column"], str(one["slice"])) for one in told["slices"])
        ]
        return [
            gr.update(visible=True),
            drawn.head(told),
            drawn.summary(told),
            told["name"],
            gr.update(choices=figures, value=first),
            gr.update(choices=parts, value=""),
            drawn.slices(told, first),
            drawn.confusion(told) or '<p class="quiet">The references are not a few labels.</p>',
            drawn.board(lab.evaluations.every(who), told["dataset"]),
        ]

    @toasts
    def on_open(event: gr.EventData, request: gr.Request) -> list[Any]:
        run_id = str(event.run)[:64]
        return [run_id, *look(run_id, owner(request))]

    @toasts
    def on_history(run_id: str, request: gr.Request) -> str:
        return drawn.history(lab.evaluations.every(owner(request)), run_id)

    @toasts
    def on_rows(
        run_id: str, begin: int, only: list[str], how: str, by: str, where: str, words: str, request: gr.Request
    ) -> list[Any]:
        """A page of rows, and which of Back and More lead on."""
        if not run_id:
            return ["", "", gr.skip(), gr.skip()]
        who = owner(request)
        told = lab.evaluations.results(run_id, who)
        column, _, value = (where or "").partition("\n")
        asked: dict[str, Any] = {"column": column, "value": value, "query": words or "", "show": (how or "all").lower()}
        if only:
            asked |= {"b": int(only[0]), "reference": only[1], "answer": only[2]}
        found = lab.evaluations.rows(run_id, who, by or "", offset=begin, length=LENGTH, **asked)
        note = f'<p class="quiet">Only {views.text(only[1])} answered as {views.text(only[2])}.</p>' if only else ""
        return [
            note,
            drawn.examples(told, found, by or "", begin),
            gr.update(interactive=begin > 0),
            gr.update(interactive=begin + LENGTH < found["total"]),
        ]

    @toasts
    def on_code(run_id: str, request: gr.Request) -> str:
        """Asked for when it is looked at: a model that is gone by now has no code, but its figures stay."""
        who = owner(request)
        return lab.code(RECIPE, lab.status(run_id, who)["params"], who) if run_id else ""

    @toasts
    def on_slices(run_id: str, by: str, request: gr.Request) -> str:
        return drawn.slices(lab.evaluations.results(run_id, owner(request)), by) if run_id else ""

    @toasts
    def on_pin(event: gr.EventData, request: gr.Request) -> None:
        who, run_id = owner(request), str(event.run)[:64]
        lab.evaluations.note(run_id, who, pinned=not lab.evaluations.results(run_id, who)["pinned"])

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
        folder = Path(file.GRADIO_CACHE) / secrets.token_hex(16)
        folder.mkdir(parents=True)
        return str(lab.evaluations.export(run_id, owner(request), folder / f"evaluation-{run_id}{form}"))

    @toasts
    def on_models(request: gr.Request) -> Any:
        return gr.update(choices=_models(lab, owner(request)))

    @toasts
    def on_datasets(request: gr.Request) -> Any:
        return gr.update(choices=[entry.name for entry in lab.datasets(owner(request))])

    begun = [watched, timer]
    start.click(on_start, asks, begun, trigger_mode="once", **PRIVATE)
    example.click(on_example, None, [models, dataset, *begun], trigger_mode="once", **PRIVATE)
    forgot.click(on_forgot, None, [models, dataset, *begun], trigger_mode="once", **PRIVATE)
    rescore.click(on_rescore, [shown, metrics], begun, trigger_mode="once", **PRIVATE)
    ticked = timer.tick(on_tick, watched, [going, watched, shown, timer, *view], **PRIVATE)
    ticked.failure(lambda: gr.Timer(active=False), None, timer, **PRIVATE)
    header.change(on_history, shown, kept, **PRIVATE)
    table.change(lambda: [0, [], "All"], None, [offset, cell, show], **PRIVATE).then(
        on_rows, [shown, offset, cell, *filters], [chosen, rows, back, more], **PRIVATE
    )
    kept.open(on_open, None, [shown, *view], **PRIVATE)
    kept.pin(on_pin, None, None, **PRIVATE).then(on_history, shown, kept, **PRIVATE)
    page.blocks.load(on_history, shown, kept, **PRIVATE)
    page.blocks.load(on_load, None, begun, **PRIVATE)
    for changed in (figure, part, show):
        changed.input(lambda: 0, None, offset, **PRIVATE).then(
            on_rows, [shown, offset, cell, *filters], [chosen, rows, back, more], **PRIVATE
        )
    coded.select(on_code, shown, code, **PRIVATE)
    figure.input(on_slices, [shown, figure], apart, **PRIVATE)
    query.submit(lambda: 0, None, offset, **PRIVATE).then(
        on_rows, [shown, offset, cell, *filters], [chosen, rows, back, more], **PRIVATE
    )
    for button, way in ((back, -LENGTH), (more, LENGTH)):
        button.click(lambda begin, way=way: max(0, begin + way), offset, offset, **PRIVATE).then(
            on_rows, [shown, offset, cell, *filters], [chosen, rows, back, more], **PRIVATE
        )
    matrix.cell(_picked, None, [cell, offset], **PRIVATE).then(
        on_rows, [shown, offset, cell, *filters], [chosen, rows, back, more], **PRIVATE
    )
    name.submit(on_name, [shown, name], header, **PRIVATE)
    open_run.click(lambda run_id: [run_id, gr.Tabs(selected="run")], shown, [page.run, page.tabs], **PRIVATE)
    delete.click(lambda: gr.update(visible=True), None, sure, **PRIVATE)
    no.click(lambda: gr.update(visible=False), None, sure, **PRIVATE)
    yes.click(on_delete, shown, [shown, result, sure], **PRIVATE).then(on_history, shown, kept, **PRIVATE)
    export.click(on_export, [shown, form_of], file, **PRIVATE).success(None, None, None, js=PRESS, **PRIVATE)
    models.focus(on_models, None, models, **PRIVATE)
    dataset.focus(on_datasets, None, dataset, **PRIVATE)
    page.model.change(_taken_model, page.model, [models, page.model], **PRIVATE)
    page.evaluate.change(_taken, page.evaluate, [dataset, page.evaluate, *begun], **PRIVATE)


def _taken(name: str) -> list[Any]:
    """The dataset that another tab wishes for, or the evaluation that it started; the wish is done with."""
    if name.startswith("run/"):
        return [gr.skip(), "", name.removeprefix("run/"), gr.Timer(active=True)]
    return [name, "", gr.skip(), gr.skip()] if name else [gr.skip()] * 4


def _taken_model(wish: list[str]) -> list[Any]:
    """The model that another tab wishes for here; the wish is done with."""
    return [[wish[1]], []] if wish and wish[0] == "evaluate" else [gr.skip(), gr.skip()]


def _picked(event: gr.EventData) -> list[Any]:
    """A cell of the confusion matrix: [model, reference, answer]."""
    return [[str(event.model), str(event.reference), str(event.answer)], 0]


def _tuned(lab: Lab, who: str) -> str:
    """The newest run that made an adapter. Raises NotFound."""
    return str(lab.evaluations.newest_tuned(who))


def _models(lab: Lab, who: str) -> list[tuple[str, str]]:
    found = [(f"{entry.name} · {entry.note or entry.source}", entry.name) for entry in lab.models()]
    adapters: list[Mapping[str, Any]] = [run for run in lab.runs(who, 50) if _has_adapter(run)]
    return found + [(f"run/{run['id']} · {views.what(run)}", f"run/{run['id']}") for run in adapters]


def _has_adapter(run: Mapping[str, Any]) -> bool:
    return any(row["kind"] == "adapter" for row in run["artifacts"])
