"""Four steps to a run: Data → Method → Where → Run. Every step has a useful answer already.

The plan is made by the very press that leads to it, with the values of that moment: a wrong value is named there, and
the step is not left.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import gradio as gr

from backend.lab import Lab
from backend.recipes import METHODS, PICTURES, TRAINED
from backend.recipes.params import check
from ui import picture_views, tune_pictures, tune_views
from ui.page import HIDDEN, PRIVATE, Page, shows
from ui.toasts import as_json, toasts
from ui.tune_data import DataStep
from ui.tune_form import TuneForm, cell_of
from ui.visitor import owner

DATA, METHOD, WHERE, RUN = 1, 2, 3, 4
_LIMITS = [
    ("15 minutes", "900"), ("30 minutes", "1800"), ("1 hour", "3600"), ("2 hours", "7200"), ("4 hours", "14400"),
    ("8 hours", "28800"), ("24 hours", "86400"),
]  # fmt: skip
_SWEPT = [
    ("nothing", ""),
    *((name, name) for name in ("learning_rate", "lora_r", "lora_alpha", "per_device_train_batch_size", "max_steps",
                                "num_train_epochs", "num_virtual_tokens", "lr_scheduler_type", "warmup_steps", "seed")),
]  # fmt: skip
FIX = """element.addEventListener("click", event => {
  const button = event.target.closest("button[data-set]");
  if (button) trigger("fix", {set: button.dataset.set});
});"""


def build(lab: Lab, page: Page) -> None:
    parent = gr.State("")  # the run that was cloned
    form = TuneForm()
    data = DataStep(lab, form)
    with gr.Walkthrough(selected=DATA, elem_id="tune-steps") as walk:
        with gr.Step("Data", id=DATA, elem_id="tune-data"):
            data.draw()
            _, to_method, straight = _ways("", "Next: Method", "Straight to Run")
        with gr.Step("Method", id=METHOD, elem_id="tune-method"):
            form.method()
            data.unfit()
            back_to_data, to_where, _ = _ways("Back", "Next: Where")
        with gr.Step("Where", id=WHERE, elem_id="tune-where") as where_step:
            places = [(words, name) for name, words, _ in lab.places()]
            target = gr.Radio(places, value=places[0][1], label="Where it runs", elem_id="tune-target")
            with gr.Row(visible=False, elem_classes="fields", elem_id="tune-rent") as rent:
                hardware = gr.Dropdown(
                    [], label="Hardware", info="Cheapest first", min_width=360, elem_id="tune-hardware"
                )
                limit = gr.Dropdown(
                    _LIMITS, value="3600", label="Ended after", info="You pay for no more than this",
                    elem_id="tune-limit",
                )  # fmt: skip
                machines = gr.Dropdown(
                    [(f"{n}", f"{n}") for n in (1, 2, 4)], value="1", label="Machines", elem_id="tune-machines",
                    info="They share every batch",
                )  # fmt: skip
            cost = gr.HTML(elem_id="tune-cost", js_on_load=FIX, padding=False)
            dry_run = gr.Button(
                "Measure it: a dry run of three steps", size="sm", scale=0, min_width=240, elem_id="tune-dry-run"
            )
            back_to_method, to_run, _ = _ways("Back", "Next: Run")
        with gr.Step("Run", id=RUN, elem_id="tune-run") as run_step:
            summary = gr.HTML(elem_id="tune-summary", padding=False)
            form.after(_free(places[0][1]))
            known = gr.State([])  # names of secrets that were offered before: a tick that was taken off stays off
            granted = gr.CheckboxGroup(
                [], label="Secrets this run gets", visible=HIDDEN, elem_id="tune-secrets",
                info="They are in its environment under these names; its log shows ••• instead.",
            )  # fmt: skip
            with gr.Row(elem_classes="ways"):
                back_to_where = gr.Button("Back", size="sm", scale=0, min_width=90)
                launch = gr.Button("Run", variant="primary", scale=0, min_width=160, elem_id="tune-launch")
                show_code = gr.Button("Code", size="sm", scale=0, min_width=90, elem_id="tune-code-button")
            with gr.Accordion("Sweep: try several values", open=False, elem_id="tune-sweep"):
                gr.HTML("A run for each value, or for each pair of values; they are drawn side by side.", padding=False)
                swept = []
                for place, (name, values) in enumerate((("learning_rate", "1e-4, 1e-3"), ("", "")), 1):
                    with gr.Row(elem_classes="fields"):
                        swept += [
                            gr.Dropdown(_SWEPT, value=name, label=f"Setting {place}", min_width=160),
                            gr.Textbox(values, label="Values, with commas between", max_lines=1, min_width=160,
                                       elem_id=f"tune-swept-{place}"),
                        ]  # fmt: skip
                sweep = gr.Button("Run the sweep", size="sm", scale=0, min_width=150, elem_id="tune-sweep-button")
            code = gr.Code(
                language="python", label="The same in plain Python", interactive=False, visible=False, max_lines=40,
                elem_id="tune-code",
            )  # fmt: skip
    form.target, form.hardware, form.limit, form.machines = target, hardware, limit, machines
    pictures = form.pictures
    model = form.model

    @toasts
    def on_image_models(request: gr.Request) -> Any:
        return tune_pictures.models(lab, "", owner(request))

    @toasts
    def on_image_typed(typed: gr.KeyUpData, request: gr.Request) -> Any:
        return tune_pictures.models(lab, typed.input_value if len(typed.input_value) > 2 else "", owner(request))

    @toasts
    def on_image_start(model: str, request: gr.Request) -> Any:
        return tune_pictures.starts(lab, model, owner(request))

    @toasts
    def on_models(typed: gr.KeyUpData) -> Any:
        return gr.update(choices=_models(lab, typed.input_value if len(typed.input_value) > 2 else ""))

    @toasts
    def on_start(model: str, request: gr.Request) -> Any:
        found = lab.adapters(owner(request), model)
        return gr.update(
            choices=[("Nothing: begin anew", ""), *((f"{one.name} · {one.note}", one.name) for one in found)]
        )

    @toasts
    def on_rewards(request: gr.Request) -> Any:
        return gr.update(choices=lab.rewards(owner(request)))

    def plan(who: str, values: tuple[Any, ...]) -> list[str]:
        """What would run, in words, and what it takes. Raises what is wrong with it."""
        recipe, typed, place = form.read(values)
        params = check(TRAINED[recipe].params, typed).model_dump()
        seen = lab.preflight(recipe, typed, who, place)
        rules = {name: params[name] for name in ("bad_rows", "same_rows")}
        look = lab.look(params["dataset"], who, recipe, 1, columns=params.get("columns"), rules=rules)
        words, waiting = next((words, many) for name, words, many in lab.places(who) if name == place.partition(":")[0])
        where = words + tune_views.rented(place)
        return [
            picture_views.summary(recipe, params, where, look)
            if recipe in PICTURES
            else tune_views.summary(recipe, params, where, look, seen["time"]["steps"]),
            tune_views.cost(seen, waiting, bool(tune_views.rented(place))),
        ]

    @toasts
    def on_fix(request: gr.Request, event: gr.EventData, *values: Any) -> list[Any]:
        """The form with the settings of a fix."""
        recipe, typed, place = form.read(values)
        params = check(TRAINED[recipe].params, typed | as_json(str(event.set)[:2000], "fix")).model_dump()
        filled = form.fill({"recipe": recipe, "params": params, "target": place})
        return [*filled, *form.show_groups(cell_of(recipe, params))]

    @toasts
    def on_places(request: gr.Request) -> Any:
        """What this visitor can choose, which depends on their sign-in."""
        return gr.update(choices=[(words, name) for name, words, _ in lab.places(owner(request))])

    @toasts
    def on_place(place: str, chosen: str, request: gr.Request) -> list[Any]:
        """Rented hardware shows with its prices; what costs is not measured there unless one asks for it."""
        if place != "hf_jobs":
            return [gr.update(visible=False), gr.skip(), _free(place)]
        there = lab.hub.rented.hardware(owner(request))
        choices = [(tune_views.hardware(one), one["flavor"]) for one in there]
        value = chosen or next((one["flavor"] for one in there if one["gpus"]), choices[0][1])
        return [gr.update(visible=True), gr.update(choices=choices, value=value), False]

    @toasts
    def on_dry_run(request: gr.Request, *values: Any) -> list[Any]:
        recipe, typed, place = form.read(values)
        return [lab.dry_run(recipe, typed, owner(request), place).id, gr.Tabs(selected="run")]

    def go(step: int) -> Callable[..., Any]:
        @toasts
        def on_go(request: gr.Request, *values: Any) -> list[Any]:
            return [gr.Walkthrough(selected=step), *plan(owner(request), values)]

        return on_go

    @toasts
    def on_plan(request: gr.Request, *values: Any) -> list[str]:
        return plan(owner(request), values)

    @toasts
    def on_code(request: gr.Request, *values: Any) -> Any:
        recipe, params, _ = form.read(values)
        return gr.update(value=lab.code(recipe, params, owner(request)), visible=True)

    @toasts
    def on_secrets(seen: list[str], ticked: list[str], request: gr.Request) -> list[Any]:
        """Their names, as far as this visitor has any; a new one is ticked when it is given to new runs."""
        there = {one["name"]: one["given"] for one in lab.vault.names(owner(request))}
        value = [name for name, given in there.items() if (name in ticked if name in seen else given)]
        return [list(there), gr.update(choices=list(there), value=value, visible=shows(there))]

    @toasts
    def on_launch(before: str, ticked: list[str], request: gr.Request, *values: Any) -> Generator[list[Any]]:
        yield [gr.update(interactive=False, value="Starting …"), *[gr.skip()] * 3]
        recipe, params, place = form.read(values)
        run = lab.launch(recipe, params, owner(request), place, before, grants=ticked)
        yield [gr.skip(), run.id, gr.Tabs(selected="run"), ""]

    @toasts
    def on_sweep(
        request: gr.Request, ticked: list[str], first: str, some: str, second: str, others: str, *values: Any
    ) -> list[Any]:
        recipe, params, place = form.read(values)
        sets = {name: [one.strip() for one in said.split(",") if one.strip()]
                for name, said in ((first, some), (second, others)) if name}  # fmt: skip
        if recipe in METHODS:
            params["evaluate_after"] = False  # they are drawn beside one another; the best can be measured then
        runs = lab.outcomes.sweep(recipe, params, sets, owner(request), place, ticked)
        return [runs[0].id, gr.Tabs(selected="run")]

    @toasts
    def on_clone(run_id: str, request: gr.Request) -> list[Any]:
        """The form takes over a run's settings."""
        if not run_id:
            return [gr.skip()] * (len(form.inputs) + len(groups) + 5)
        status = lab.status(run_id, owner(request))
        cell = cell_of(status["recipe"], status["params"])
        kind = "pictures" if status["recipe"] in PICTURES else "text"
        return [*form.fill(status), *form.show_groups(cell), kind, gr.Walkthrough(selected=METHOD), run_id, "", ""]

    groups = list(form.all_groups.values())
    data.listen(page)
    pictures.model.key_up(on_image_typed, None, pictures.model, trigger_mode="always_last", **PRIVATE)
    pictures.model.focus(on_image_models, None, pictures.model, **PRIVATE)
    pictures.start.focus(on_image_start, pictures.model, pictures.start, **PRIVATE)
    model.key_up(on_models, None, model, trigger_mode="always_last", **PRIVATE)
    model.focus(lambda: gr.update(choices=_models(lab)), None, model, **PRIVATE)
    form.start.focus(on_start, model, form.start, **PRIVATE)
    form.reward.focus(on_rewards, None, form.reward, **PRIVATE)
    for button, step in ((to_method, METHOD), (back_to_data, DATA), (back_to_method, METHOD), (back_to_where, WHERE)):
        button.click(lambda step=step: gr.Walkthrough(selected=step), None, walk, **PRIVATE)
    for button, step in ((to_where, WHERE), (to_run, RUN), (straight, RUN)):
        button.click(go(step), form.inputs, [walk, summary, cost], **PRIVATE)
    for title in (where_step, run_step):  # a press on the title of a step
        title.select(on_plan, form.inputs, [summary, cost], **PRIVATE).failure(
            lambda: ["", ""], None, [summary, cost], **PRIVATE
        )
    page.blocks.load(on_places, None, target, **PRIVATE)
    offered = [known, granted]
    for come in (page.blocks.load, run_step.select, to_run.click, straight.click):
        come(on_secrets, offered, offered, **PRIVATE)
    rented = target.input(on_place, [target, hardware], [rent, hardware, form.measure], **PRIVATE)
    for changed in (rented.success, hardware.input, limit.input, machines.input):
        changed(on_plan, form.inputs, [summary, cost], **PRIVATE)
    fixed = cost.fix(on_fix, form.inputs, [*form.inputs, *groups], **PRIVATE)
    fixed.success(on_plan, form.inputs, [summary, cost], **PRIVATE)
    dry_run.click(on_dry_run, form.inputs, [page.run, page.tabs], trigger_mode="once", **PRIVATE)
    show_code.click(on_code, form.inputs, code, **PRIVATE)
    pressed = launch.click(
        on_launch,
        [parent, granted, *form.inputs],
        [launch, page.run, page.tabs, parent],
        trigger_mode="once",
        **PRIVATE,
    )
    sweep.click(on_sweep, [granted, *swept, *form.inputs], [page.run, page.tabs], trigger_mode="once", **PRIVATE)
    for after in (pressed.then, pressed.failure):  # `then` does not follow an error
        after(lambda: gr.update(interactive=True, value="Run"), None, launch, **PRIVATE)
    page.dataset.change(_taken, page.dataset, [form.dataset, page.dataset], **PRIVATE)
    page.model.change(_taken_model, page.model, [model, page.model], **PRIVATE)
    page.clone.change(
        on_clone, page.clone, [*form.inputs, *groups, data.learner, walk, parent, page.clone, code], **PRIVATE
    )


def _free(place: str) -> bool:
    """Whether runs there take neither money nor a visitor's share of a GPU."""
    return place not in ("hf_jobs", "zerogpu")


def _taken(name: str) -> list[Any]:
    """The dataset that another tab wishes for; the wish is done with."""
    return [name, ""] if name else [gr.skip(), gr.skip()]


def _taken_model(wish: list[str]) -> list[Any]:
    """The model that another tab wishes for here; the wish is done with."""
    return [wish[1], []] if wish and wish[0] == "tune" else [gr.skip(), gr.skip()]


def _ways(back: str, on: str, skip: str = "") -> tuple[gr.Button, gr.Button, gr.Button]:
    with gr.Row(elem_classes="ways"):
        return (
            gr.Button(back, size="sm", scale=0, min_width=90, visible=bool(back)),
            gr.Button(on, variant="primary", size="sm", scale=0, min_width=150),
            gr.Button(skip, size="sm", scale=0, min_width=150, visible=bool(skip)),
        )


def _models(lab: Lab, query: str = "") -> list[tuple[str, str]]:
    found = toasts(lab.models)(query)
    return [(f"{entry.name} · {entry.note or entry.source}", entry.name) for entry in found]
