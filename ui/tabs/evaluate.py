"""Models × data × metrics: which is better, by how much, whether that is real, and on which rows.

An evaluation is a run, so it goes on when the page is closed. What is shown is one evaluation, by its run's id; beside
it stands the dashboard, with all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from backend.lab import Lab
from backend.metrics import METRICS
from backend.recipes import RECIPES
from ui import evaluate_views as drawn
from ui import notebooks, views
from ui.evaluate import choosing, dashboard, harness, keeping, why
from ui.evaluate.desk import PRIVATE, Desk
from ui.evaluate.rows import Rows
from ui.forms import Form
from ui.page import HIDDEN, Page
from ui.toasts import toasts
from ui.visitor import owner

RECIPE = "evaluate"
WATCHED = ("evaluate", "harness", "judge")  # recipes whose runs are looked after here
SEPARATE = (  # of the form: they have places of their own
    *("models", "dataset", "metrics", "columns", "answers", "held_out_of"),
)
BASIC = ("max_rows", "max_new_tokens")
PICK = """element.addEventListener("click", event => {
  const button = event.target.closest("button");
  if (button?.dataset.open) trigger("open", {run: button.dataset.open});
  if (button?.dataset.pin) trigger("pin", {run: button.dataset.pin});
});"""
ACT = """element.addEventListener("click", event => {
  const button = event.target.closest("button[data-act]");
  const acts = {stop: "stop", resume: "resume", open: "open"};
  if (button) trigger(acts[button.dataset.act], {run: button.dataset.of});
});"""


def build(lab: Lab, page: Page) -> None:
    fields = RECIPES[RECIPE].params.model_fields
    timer = gr.Timer(1, active=False)
    file = gr.DownloadButton(visible=HIDDEN, elem_id="evaluate-file")
    desk = Desk(lab, page, gr.State(""), gr.State(""), timer, file)
    shown, watched, where = desk.shown, desk.watched, desk.where
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
            [(one.title, name) for name, one in METRICS.items()], value=[], multiselect=True, allow_custom_value=True,
            label="Metrics", scale=3, info="None chosen takes those that fit; hub:NAME is one of the Hub",
            min_width=220, elem_id="evaluate-metrics",
        )  # fmt: skip
    with gr.Accordion("Settings", open=False, elem_id="evaluate-settings"):
        form = Form(RECIPES[RECIPE].params, BASIC, SEPARATE, prefix="evaluate")
        with gr.Accordion("What each metric says, and when not to trust it", open=False):
            gr.HTML(drawn.glossary(METRICS), padding=False)
    harness.build(desk, models)
    with gr.Row(elem_id="evaluate-buttons"):
        start = gr.Button("Evaluate", variant="primary", scale=0, min_width=150, elem_id="evaluate-start")
        example = gr.Button(
            "My last tuned model beside its base", size="sm", scale=0, min_width=250, elem_id="evaluate-example"
        )
        forgot = gr.Button("What did it forget?", size="sm", scale=0, min_width=160, elem_id="evaluate-forgot")
    going = gr.HTML(js_on_load=ACT, elem_id="evaluate-going", padding=False)
    with gr.Tabs(elem_id="evaluate-views") as both:
        with gr.Tab("Evaluations", id="one"), gr.Row():
            with gr.Column(scale=1, min_width=230):
                kept = gr.HTML(drawn.history([], ""), js_on_load=PICK, elem_id="evaluate-history", padding=False)
            with gr.Column(scale=4, min_width=320, elem_id="evaluate-shown", visible=False) as result:
                header = gr.HTML(elem_id="evaluate-head", padding=False)
                table = gr.HTML(elem_id="evaluate-table", padding=False)
                actions = keeping.Keeping(desk, header, result, metrics)
                with gr.Tabs() as tabs:
                    with gr.Tab("Rows", id="rows"):
                        rows = Rows(desk, table)
                    reasons = why.build(desk, rows, tabs)
                    choices = choosing.build(desk, models)
                    with gr.Tab("Hub", id="hub"):
                        pushing = keeping.hub(desk)
                    with gr.Tab("Code", id="code") as coded:
                        code = gr.Code(language="python", interactive=False, elem_id="evaluate-code", max_lines=30)
                        notebooks.beside(desk.lab, code, "An evaluation", "evaluation")
        with gr.Tab("Dashboard", id="all", elem_id="evaluate-all") as every:
            dashboard.build(desk, every)

    panels = [actions.panel, rows.panel, reasons, choices, pushing]
    view = [result, header, table, *(one for panel in panels for one in panel.components)]
    asks = [models, dataset, metrics, *form.components]

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

    def beside(data: str, who: str) -> list[Any]:
        """The newest tuned model and its base on `data`, begun."""
        run_id = str(lab.evaluations.newest_tuned(who))
        chosen = [lab.status(run_id, who)["params"]["model"], f"run/{run_id}"]
        started = lab.launch(RECIPE, {"models": chosen, "dataset": data}, who, where)
        return [chosen, data, started.id, gr.Timer(active=True)]

    @toasts
    def on_example(request: gr.Request) -> list[Any]:
        return beside("sample/evaluation", owner(request))

    @toasts
    def on_forgot(request: gr.Request) -> list[Any]:
        return beside("sample/forgetting", owner(request))

    @toasts
    def on_tick(going_on: str, request: gr.Request) -> list[Any]:
        """How the run that is watched goes; its results once it has them, and then the next one."""
        who = owner(request)
        status = lab.status(going_on, who) if going_on else None
        if status and status["state"] in views.LIVING:
            told = drawn.progress(status, acts=True)
            return [told, gr.skip(), gr.skip(), gr.Timer(active=True), *[gr.skip()] * len(view)]
        after = living(who)
        then = [after, gr.Timer(active=bool(after))]
        if status is None or status["state"] != "finished":
            told = drawn.progress(status, acts=True) if status else ""
            return [told, then[0], gr.skip(), then[1], *[gr.skip()] * len(view)]
        result_of = str(status["params"]["answers"]).removeprefix("run/") if status["recipe"] == "judge" else going_on
        return ["", then[0], result_of, then[1], *look(result_of, who)]

    def living(who: str) -> str:
        """A run of theirs that belongs here and is under way or waits, the oldest."""
        mine = [run for run in lab.runs(who, 20) if run["recipe"] in WATCHED and run["state"] in views.LIVING]
        return str(mine[-1]["id"]) if mine else ""

    @toasts
    def on_stop(event: gr.EventData, request: gr.Request) -> None:
        lab.cancel(str(event.run)[:64], owner(request), save=True)

    @toasts
    def on_resume(event: gr.EventData, request: gr.Request) -> list[Any]:
        run_id = str(event.run)[:64]
        lab.resume(run_id, owner(request))
        return [run_id, gr.Timer(active=True)]

    @toasts
    def on_load(request: gr.Request) -> list[Any]:
        """A page that is opened again goes on watching."""
        found = living(owner(request))
        return [found, gr.Timer(active=bool(found))]

    @toasts
    def on_link(request: gr.Request) -> list[Any]:
        """`?evaluation=ID` shows that one."""
        run_id = str(request.query_params.get("evaluation", ""))[:64]
        return [run_id, *look(run_id, owner(request))] if run_id else [gr.skip()] * (1 + len(view))

    def look(run_id: str, who: str) -> list[Any]:
        """An update for each of `view`."""
        told = lab.evaluations.results(run_id, who)
        updates = [one for panel in panels for one in panel.draw(told, who)]
        return [gr.update(visible=True), drawn.head(told), drawn.summary(told), *updates]

    @toasts
    def on_open(event: gr.EventData, request: gr.Request) -> list[Any]:
        run_id = str(event.run)[:64]
        return [run_id, *look(run_id, owner(request))]

    @toasts
    def on_history(run_id: str, request: gr.Request) -> str:
        return drawn.history(lab.evaluations.every(owner(request)), run_id)

    @toasts
    def on_code(run_id: str, request: gr.Request) -> str:
        """Asked for when it is looked at: a model that is gone by now has no code, but its figures stay."""
        who = owner(request)
        return lab.code(lab.run(run_id, who).job.recipe, lab.status(run_id, who)["params"], who) if run_id else ""

    @toasts
    def on_pin(event: gr.EventData, request: gr.Request) -> None:
        who, run_id = owner(request), str(event.run)[:64]
        lab.evaluations.note(run_id, who, pinned=not lab.evaluations.results(run_id, who)["pinned"])

    @toasts
    def on_models(request: gr.Request) -> Any:
        return gr.update(choices=_models(lab, owner(request)))

    @toasts
    def on_typed(typed: gr.KeyUpData, request: gr.Request) -> Any:
        """What is typed is looked for on the Hub and at providers, too."""
        return gr.update(choices=_models(lab, owner(request), typed.input_value))

    @toasts
    def on_datasets(request: gr.Request) -> Any:
        return gr.update(choices=[entry.name for entry in lab.datasets(owner(request))])

    start.click(on_start, asks, desk.begun, trigger_mode="once", **PRIVATE)
    example.click(on_example, None, [models, dataset, *desk.begun], trigger_mode="once", **PRIVATE)
    forgot.click(on_forgot, None, [models, dataset, *desk.begun], trigger_mode="once", **PRIVATE)
    ticked = timer.tick(on_tick, watched, [going, watched, shown, timer, *view], **PRIVATE)
    ticked.failure(lambda: gr.Timer(active=False), None, timer, **PRIVATE)
    going.stop(on_stop, None, None, trigger_mode="once", **PRIVATE)
    going.resume(on_resume, None, desk.begun, trigger_mode="once", **PRIVATE)
    going.open(_opened, None, [page.run, page.tabs], **PRIVATE)
    header.change(on_history, shown, kept, **PRIVATE)
    kept.open(on_open, None, [shown, *view], **PRIVATE)
    kept.pin(on_pin, None, None, **PRIVATE).then(on_history, shown, kept, **PRIVATE)
    page.blocks.load(on_history, shown, kept, **PRIVATE)
    page.blocks.load(on_load, None, desk.begun, **PRIVATE)
    page.blocks.load(on_link, None, [shown, *view], **PRIVATE)
    coded.select(on_code, shown, code, **PRIVATE)
    actions.deleted.then(on_history, shown, kept, **PRIVATE)
    models.focus(on_models, None, models, **PRIVATE)
    models.key_up(on_typed, None, models, trigger_mode="always_last", **PRIVATE)
    dataset.focus(on_datasets, None, dataset, **PRIVATE)
    page.model.change(_taken_model, page.model, [models, page.model], **PRIVATE)
    taken = page.evaluate.change(_taken, page.evaluate, [dataset, page.evaluate, *desk.begun], **PRIVATE)
    taken.then(lambda: gr.Tabs(selected="one"), None, both, **PRIVATE)


def _opened(event: gr.EventData) -> list[Any]:
    """The run that is watched, on its own page."""
    return [str(event.run)[:64], gr.Tabs(selected="run")]


def _taken(name: str) -> list[Any]:
    """The dataset that another tab wishes for, or the evaluation that it started; the wish is done with."""
    if name.startswith("run/"):
        return [gr.skip(), "", name.removeprefix("run/"), gr.Timer(active=True)]
    return [name, "", gr.skip(), gr.skip()] if name else [gr.skip()] * 4


def _taken_model(wish: list[str]) -> list[Any]:
    """The model that another tab wishes for here; the wish is done with."""
    return [[wish[1]], []] if wish and wish[0] == "evaluate" else [gr.skip(), gr.skip()]


def _models(lab: Lab, who: str, query: str = "") -> list[tuple[str, str]]:
    found = [(f"{entry.name} · {entry.note or entry.source}", entry.name) for entry in lab.models()]
    if len(query) > 2:
        known = {name for _, name in found}
        more = [entry for entry in lab.models(query) if entry.name not in known]
        found += [(f"{entry.name} · {entry.note or entry.source}", entry.name) for entry in more]
    adapters: list[Mapping[str, Any]] = [run for run in lab.runs(who, 50) if _answers(run)]
    return found + [(f"run/{run['id']} · {views.what(run)}", f"run/{run['id']}") for run in adapters]


def _answers(run: Mapping[str, Any]) -> bool:
    return any(row["kind"] in ("adapter", "model") for row in run["artifacts"])
