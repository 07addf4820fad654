"""Four steps to a run: Data → Method → Where → Run. Every step has a useful answer already."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import gradio as gr

from backend.lab import Lab
from backend.recipes import METHODS, Method, why_not
from backend.recipes.params import check
from ui import tune_views, views
from ui.forms import Form
from ui.page import Page
from ui.toasts import toasts
from ui.visitor import owner

DATA, METHOD, WHERE, RUN = 1, 2, 3, 4
FIRST = next(iter(METHODS))
BASIC = ("num_train_epochs", "max_steps", "learning_rate", "per_device_train_batch_size", "max_length", "lora_r")
HIDDEN = ("model", "dataset", "adapter", "columns")  # these have places of their own
FILES = [".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt"]
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
CHOOSE = """element.addEventListener("change", event => { props.value = event.target.value; trigger("choose"); });
watch("value", () => element.querySelectorAll("input").forEach(one => { one.checked = one.value === props.value; }));"""


def build(lab: Lab, page: Page) -> None:
    fields = METHODS[FIRST].params.model_fields
    parent = gr.State("")  # the run that was cloned
    with gr.Walkthrough(selected=DATA, elem_id="tune-steps") as walk:
        with gr.Step("Data", id=DATA, elem_id="tune-data"):
            with gr.Row(elem_classes="beside"):
                dataset = _picker("Dataset", fields["dataset"].default, "tune-dataset")
                upload = gr.UploadButton(
                    "Upload a file", file_types=FILES, scale=0, min_width=130, elem_id="tune-upload"
                )
            facts = gr.HTML(elem_id="tune-facts", padding=False)
            _, to_method, straight = _ways("", "Next: Method", "Straight to Run")
        with gr.Step("Method", id=METHOD, elem_id="tune-method"):
            model = _picker("Model", fields["model"].default, "tune-model")
            grid = gr.HTML(
                f"{FIRST}/lora", html_template=_grid(), js_on_load=CHOOSE, elem_id="tune-grid", padding=False
            )
            groups, forms = [], []
            for name, method in METHODS.items():
                with gr.Column(visible=name == FIRST) as group:
                    forms.append(Form(method.params, BASIC, HIDDEN, prefix=f"tune-{name}"))
                    groups.append(group)
            back_to_data, to_where, _ = _ways("Back", "Next: Where")
        with gr.Step("Where", id=WHERE, elem_id="tune-where"):
            places = [(words, name) for name, words, _ in lab.places()]
            target = gr.Radio(places, value=places[0][1], label="Where it runs", elem_id="tune-target")
            cost = gr.HTML(elem_id="tune-cost", padding=False)
            back_to_method, to_run, _ = _ways("Back", "Next: Run")
        with gr.Step("Run", id=RUN, elem_id="tune-run"):
            summary = gr.HTML(elem_id="tune-summary", padding=False)
            with gr.Row(elem_classes="ways"):
                back_to_where = gr.Button("Back", size="sm", scale=0, min_width=90)
                launch = gr.Button("Run", variant="primary", scale=0, min_width=160, elem_id="tune-launch")
                show_code = gr.Button("Code", size="sm", scale=0, min_width=90, elem_id="tune-code-button")
            code = gr.Code(
                language="python", label="The same in plain Python", interactive=False, visible=False, max_lines=40,
                elem_id="tune-code",
            )  # fmt: skip

    form = [dataset, model, grid, target, *(part for one in forms for part in one.components)]

    def asked(values: Sequence[Any]) -> tuple[str, dict[str, Any], str]:
        """(recipe, params as typed, target) of the values of `form`."""
        data, base, cell, place, *rest = values
        recipe, _, adapter = str(cell).partition("/")
        for name, one in zip(METHODS, forms, strict=True):
            mine, rest = rest[: len(one.components)], rest[len(one.components) :]
            if name == recipe:
                return recipe, one.read(*mine) | {"dataset": data or "", "model": base or "", "adapter": adapter}, place
        raise AssertionError(f"no form for {recipe}")

    @toasts
    def on_data(name: str, cell: str, request: gr.Request) -> str:
        return _facts(lab.look(name or "", owner(request), cell.partition("/")[0]))

    @toasts
    def on_datasets(request: gr.Request) -> Any:
        return gr.update(choices=[entry.name for entry in lab.datasets(owner(request))])

    @toasts
    def on_upload(file: str, request: gr.Request) -> Any:
        name = lab.upload(owner(request), Path(file))
        return gr.update(choices=[entry.name for entry in lab.datasets(owner(request))], value=name)

    @toasts
    def on_models(typed: gr.KeyUpData) -> Any:
        return gr.update(choices=_models(lab, typed.input_value if len(typed.input_value) > 2 else ""))

    def on_cell(cell: str) -> list[Any]:
        return [gr.update(visible=name == cell.partition("/")[0]) for name in METHODS]

    @toasts
    def on_plan(request: gr.Request, *values: Any) -> list[str]:
        """What would run, in words, and what it costs."""
        recipe, typed, place = asked(values)
        params = check(METHODS[recipe].params, typed).model_dump()
        total = lab.look(params["dataset"], owner(request), recipe, 1)["total"]
        steps = tune_views.steps(params, total)
        took = tune_views.pace(lab.runs(owner(request), 20), params)
        words, waiting = next((words, many) for name, words, many in lab.places() if name == place)
        return [_summary(recipe, params, words, total, steps), _cost(steps, took, waiting)]

    @toasts
    def on_code(request: gr.Request, *values: Any) -> Any:
        recipe, params, _ = asked(values)
        return gr.update(value=lab.code(recipe, params, owner(request)), visible=True)

    @toasts
    def on_launch(before: str, request: gr.Request, *values: Any) -> Generator[list[Any]]:
        yield [gr.update(interactive=False, value="Starting …"), *[gr.skip()] * 3]
        recipe, params, place = asked(values)
        run = lab.launch(recipe, params, owner(request), place, before)
        yield [gr.skip(), run.id, gr.Tabs(selected="run"), ""]

    @toasts
    def on_clone(run_id: str, request: gr.Request) -> list[Any]:
        """The form takes over a run's settings."""
        if not run_id:
            return [gr.skip()] * (len(form) + 4)
        status = lab.status(run_id, owner(request))
        params, recipe = status["params"], status["recipe"]
        filled = [
            update
            for name, one in zip(METHODS, forms, strict=True)
            for update in (one.fill(params) if name == recipe else [gr.skip()] * len(one.components))
        ]
        cell = f"{recipe}/{params.get('adapter', 'lora')}"
        return [
            params["dataset"],
            params["model"],
            cell,
            status["target"],
            *filled,
            gr.Walkthrough(selected=METHOD),
            run_id,
            "",
            "",
        ]

    dataset.change(on_data, [dataset, grid], facts, **PRIVATE).failure(lambda: "", None, facts, **PRIVATE)
    dataset.focus(on_datasets, None, dataset, **PRIVATE)
    upload.upload(on_upload, upload, dataset, **PRIVATE)
    page.blocks.load(on_data, [dataset, grid], facts, **PRIVATE)
    model.key_up(on_models, None, model, trigger_mode="always_last", **PRIVATE)
    model.focus(lambda: gr.update(choices=_models(lab)), None, model, **PRIVATE)
    grid.choose(on_cell, grid, groups, **PRIVATE).then(on_data, [dataset, grid], facts, **PRIVATE)
    ways = ((to_method, METHOD), (straight, RUN), (back_to_data, DATA), (to_where, WHERE))
    for button, step in (*ways, (back_to_method, METHOD), (to_run, RUN), (back_to_where, WHERE)):
        button.click(lambda step=step: gr.Walkthrough(selected=step), None, walk, **PRIVATE)
    planned = walk.change(on_plan, form, [summary, cost], **PRIVATE)
    planned.failure(lambda: ["", ""], None, [summary, cost], **PRIVATE)
    show_code.click(on_code, form, code, **PRIVATE)
    pressed = launch.click(
        on_launch, [parent, *form], [launch, page.run, page.tabs, parent], trigger_mode="once", **PRIVATE
    )
    for after in (pressed.then, pressed.failure):  # `then` does not follow an error
        after(lambda: gr.update(interactive=True, value="Run"), None, launch, **PRIVATE)
    page.dataset.change(_taken, page.dataset, [dataset, page.dataset], **PRIVATE)
    page.clone.change(on_clone, page.clone, [*form, walk, parent, page.clone, code], **PRIVATE)


def _taken(name: str) -> list[Any]:
    """The dataset that another tab wishes for; the wish is done with."""
    return [name, ""] if name else [gr.skip(), gr.skip()]


def _picker(label: str, value: str, elem_id: str) -> gr.Dropdown:
    about = {
        "Dataset": "A sample, a file of yours, or owner/name on the Hub",
        "Model": "The starter is ready; or owner/name on the Hub",
    }
    return gr.Dropdown(
        [value],
        value=value,
        label=label,
        info=about[label],
        allow_custom_value=True,
        min_width=220,
        scale=4,
        elem_id=elem_id,
    )


def _ways(back: str, on: str, skip: str = "") -> tuple[gr.Button, gr.Button, gr.Button]:
    with gr.Row(elem_classes="ways"):
        return (
            gr.Button(back, size="sm", scale=0, min_width=90, visible=bool(back)),
            gr.Button(on, variant="primary", size="sm", scale=0, min_width=150),
            gr.Button(skip, size="sm", scale=0, min_width=150, visible=bool(skip)),
        )


def _grid() -> str:
    """Method × adapter; a cell that can't be is off and says why."""
    adapters = get_args(METHODS[FIRST].params.model_fields["adapter"].annotation)
    head = "".join(f"<th scope=col>{views.text(views.ADAPTERS.get(name, name))}</th>" for name in adapters)
    rows = "".join(
        f'<tr><th scope=row title="{views.text(method.title)}">{views.text(name.upper())}</th>'
        f"{''.join(_cell(name, adapter) for adapter in adapters)}</tr>"
        for name, method in METHODS.items()
    )
    table = f'<table class="grid"><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<div class="grid-scroll" tabindex="0">{table}</div>{"".join(map(_about, METHODS.values()))}'


def _about(method: Method) -> str:
    return f'<p class="quiet">{views.text(method.title)}. {views.text(method.about)}</p>'


def _cell(method: str, adapter: str) -> str:
    why = why_not(method, adapter)
    name = views.text(f"{METHODS[method].title} with {views.ADAPTERS.get(adapter, adapter)}{f': {why}' if why else ''}")
    value = f"{method}/{adapter}"
    state = "disabled" if why else f'${{value === "{value}" ? "checked" : ""}}'
    about = "<span class=why>off</span>" if why else ""
    return (
        f'<td><label title="{name}"><input type=radio name=tune-cell value="{value}" aria-label="{name}" {state}>'
        f"{about}</label></td>"
    )


def _facts(look: Mapping[str, Any]) -> str:
    """Count, form and columns; what is wrong; the first rows."""
    many = "rows not counted" if look["total"] is None else views.plural(look["total"], "row")
    words = " · ".join(str(word) for word in (many, look["format"]) if word)
    return (
        f'<p class="facts"><b>{views.text(words)}</b> <span class=quiet>columns: '
        f"{views.text(', '.join(look['columns']))}</span></p>{_problem(look['problem'])}"
        f"{tune_views.preview(look['rows'])}"
    )


def _problem(problem: Mapping[str, str] | None) -> str:
    if not problem:
        return ""
    return (
        f'<div class="panel panel-error" role="alert" id="tune-problem"><b>{views.text(problem["message"])}</b>'
        f"<p>{views.text(problem['hint'])}</p></div>"
    )


def _summary(recipe: str, params: Mapping[str, Any], place: str, total: int | None, steps: int) -> str:
    """`SFT · LoRA r=8 on sample/instructions, 504 rows, 1 epoch ≈ 61 steps, on This machine`."""
    adapter = views.ADAPTERS.get(params["adapter"], params["adapter"])
    rank = f" r={params['lora_r']}" if "lora" in params["adapter"] else ""
    length = [views.plural(total, "row")] if total is not None else []
    if params["max_steps"]:
        length.append(views.plural(params["max_steps"], "step"))
    else:
        about = f" ≈ {views.plural(steps, 'step')}" if steps else ""
        length.append(f"{views.plural(params['num_train_epochs'], 'epoch')}{about}")
    return (
        f'<p class="summary"><b>{views.text(f"{recipe.upper()} · {adapter}{rank}")}</b> on '
        f"<b>{views.text(params['dataset'])}</b>, {views.text(', '.join(length))}, on {views.text(place)}</p>"
        f"<p class=quiet>Model: {views.text(params['model'])}. "
        "The run goes on when you close this page; you find it in Runs.</p>"
    )


def _cost(steps: int, pace: float | None, waiting: int) -> str:
    time = "How long it takes is known after the first steps; the run shows it."
    if steps and pace:
        time = (
            f"About {views.duration(steps * pace)} for {views.plural(steps, 'step')}, going by your last run like this."
        )
    queue = f"{views.plural(waiting, 'run')} before yours." if waiting else "Nothing waits: it starts at once."
    free = "No extra cost: it runs where this page is served."
    return f'<ul class="cost"><li>{free}</li><li>{queue}</li><li>{time}</li></ul>'


def _models(lab: Lab, query: str = "") -> list[tuple[str, str]]:
    found = toasts(lab.models)(query)
    return [(f"{entry.name} · {entry.note or entry.source}", entry.name) for entry in found]
