"""What a run is asked for with: the fields of the Tune steps, read into a recipe and its params, and filled from a run.

Fields that all methods share are drawn once; a method's own and those of one kind of adapter show when they count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import gradio as gr

from backend.recipes import METHODS, PICTURES
from backend.recipes.params import LORAS, PROMPTS, TrainParams
from ui import tune_views
from ui.forms import Form
from ui.page import HIDDEN, shows
from ui.tune_pictures import PictureForm

FIRST = next(iter(METHODS))
SHARED = TrainParams.model_fields
ROLES = ("prompt", "completion", "messages", "text", "chosen", "rejected", "label", "reference")
ROWS = ("max_rows", "pick_rows", "eval_rows", "dataset_split", "seed")
BASIC = ("num_train_epochs", "max_steps", "learning_rate", "per_device_train_batch_size", "max_length")
LORA = ("lora_r", "lora_alpha")
VARIANTS = ("lora_dropout", "init_lora_weights", "use_rslora", "use_dora")
PLACED = (
    "model",
    "dataset",
    "adapter",
    "columns",
    "bad_rows",
    "same_rows",
    "long_rows",
    "start_from",
    "reward",
    "dry_run",
    "evaluate_after",
)  # these have their own places
STOP_OR_DROP = [("Stop: nothing starts until they are mended", "stop"), ("Leave them out", "drop")]
SAME = [("Keep them", "keep"), ("Leave out all but the first", "drop"), ("Stop", "stop")]
LONG = [("Cut them off at the length", "cut"), ("Leave them out", "drop"), ("Stop", "stop")]
CHOOSE = """element.addEventListener("change", event => { props.value = event.target.value; trigger("choose"); });
watch("value", () => element.querySelectorAll("input").forEach(one => { one.checked = one.value === props.value; }));"""


class TuneForm:
    """Drawn in three steps, `data`, `method` and `after`; whoever draws the rest gives `dataset` and `target`."""

    dataset: gr.Dropdown
    target: gr.Radio
    hardware: gr.Dropdown  # rented, and …
    limit: gr.Dropdown  # … for how many seconds at most, and …
    machines: gr.Dropdown  # … how many of it

    def __init__(self) -> None:
        self.components: list[gr.components.Component] = []  # but for dataset and target
        self.forms: list[Form] = []
        self.own: dict[str, Form] = {}  # by method
        self.groups: dict[str, gr.Column] = {}  # what shows for one method or kind of adapter only
        self.pictures = PictureForm()
        self.cell = gr.State(f"{FIRST}/lora")  # method and adapter; what teaches an image model has no adapter
        self.cell.elem_id = "tune-cell"
        self.components.append(self.cell)

    def data(self) -> None:
        """Which column is what, what becomes of wrong rows, and which rows are used."""
        with (
            gr.Column() as self.groups["text-columns"],
            gr.Accordion("Columns", open=False, elem_id="tune-columns") as self.columns,
            gr.Row(elem_classes="fields"),
        ):
            self.roles = [
                gr.Dropdown(
                    [("by its name", "")], value="", label=f"{role.capitalize()} is the column", min_width=160,
                    elem_id=f"tune-role-{role}", visible=shows(role in ROLES[:4]),
                )
                for role in ROLES
            ]  # fmt: skip
        with gr.Column(visible=False) as self.groups["pictures-data"]:
            self.pictures.data()
        self.bad_rows = gr.Radio(
            STOP_OR_DROP, value="stop", label="What becomes of wrong rows", visible=HIDDEN, elem_id="tune-bad-rows"
        )
        self.same_rows = gr.Radio(
            SAME, value="keep", label="What becomes of rows that are there twice", visible=HIDDEN,
            elem_id="tune-same-rows",
        )  # fmt: skip
        with gr.Column() as self.groups["text-rows"], gr.Accordion("Which rows", open=False, elem_id="tune-which-rows"):
            self._form(ROWS)
        self.components += [*self.roles, self.bad_rows, self.same_rows]

    def long(self) -> None:
        """What becomes of rows that are too long; shown once some are."""
        self.long_rows = gr.Radio(
            LONG, value="cut", label="What becomes of rows that are too long", visible=HIDDEN, elem_id="tune-long-rows"
        )
        self.components.append(self.long_rows)

    def method(self) -> None:
        """The model, what to start from, method and adapter, and their settings."""
        with gr.Column() as self.groups["text-method"]:
            self._text_method()
        with gr.Column(visible=False) as self.groups["pictures-method"]:
            self.pictures.method()
        self.components += self.pictures.components

    def _text_method(self) -> None:
        with gr.Row(elem_classes="beside"):
            self.model = picker(
                "Model", SHARED["model"].default, "tune-model", "The starter is ready; or owner/name on the Hub"
            )
            self.start = picker("Start from", "", "tune-start", "Nothing, or the adapter of an earlier run: run/ID")
        self.grid = gr.HTML(
            f"{FIRST}/lora", html_template=tune_views.grid(), js_on_load=CHOOSE, elem_id="tune-grid", padding=False
        )
        self._form(BASIC)
        with gr.Column(visible=False) as self.groups["rewarded"]:
            self.reward = picker("Reward", "overlap", "tune-reward", "A function such as exact or length:20, or run/ID")
        for name, method in METHODS.items():
            fields = [one for one in method.params.model_fields if one not in SHARED and one not in PLACED]
            if fields:
                with gr.Column(visible=name == FIRST) as self.groups[name]:
                    self.own[name] = Form(method.params, prefix=f"tune-{name}", only=fields)
                    self.components += self.own[name].components
        with gr.Column() as self.groups["lora"]:
            self._form(LORA)
            with gr.Accordion("Kinds of LoRA", open=False, elem_id="tune-variants"):
                self._form(VARIANTS)
        with gr.Column(visible=False) as self.groups["prompts"]:
            self._form(("num_virtual_tokens",))
        shown = {*ROWS, *BASIC, *LORA, *VARIANTS, *PLACED, "num_virtual_tokens"}
        with gr.Accordion("More settings", open=False, elem_id="tune-more"):
            self._form([name for name in SHARED if name not in shown])
        self.components += [self.model, self.start, self.grid, self.reward]

    def after(self, on: bool) -> None:
        """Whether it is measured beside its base, once it has finished."""
        field = SHARED["evaluate_after"]
        with gr.Column() as self.groups["text-after"]:
            self.measure = gr.Checkbox(on, label=field.title, info=field.description, elem_id="tune-evaluate-after")
        self.components.append(self.measure)

    def _form(self, names: Sequence[str]) -> None:
        self.forms.append(Form(TrainParams, prefix="tune", only=names))
        self.components += self.forms[-1].components

    @property
    def inputs(self) -> list[gr.components.Component]:
        """All that `read` takes, in order."""
        return [self.dataset, self.target, self.hardware, self.limit, self.machines, *self.components]

    def read(self, values: Sequence[Any]) -> tuple[str, dict[str, Any], str]:
        """(recipe, params as typed, target) of the values of `inputs`."""
        said = dict(zip((part._id for part in self.inputs), values, strict=True))
        recipe, _, adapter = str(said[self.cell._id]).partition("/")
        if recipe in PICTURES:
            shared = {"dataset": self.dataset, "bad_rows": self.bad_rows, "same_rows": self.same_rows}
            own = {name: said[part._id] or "" for name, part in shared.items()}
            return recipe, own | self.pictures.read(recipe, said), self._place(said)
        params: dict[str, Any] = {"adapter": adapter, "columns": self.mapping([said[part._id] for part in self.roles])}
        for name, part in (
            *(("dataset", self.dataset), ("model", self.model), ("start_from", self.start)),
            *(("bad_rows", self.bad_rows), ("same_rows", self.same_rows), ("long_rows", self.long_rows)),
            *(("reward", self.reward), ("evaluate_after", self.measure)),
        ):
            if name in METHODS[recipe].params.model_fields:
                params[name] = said[part._id] or ""
        for form in self._forms(recipe):
            params |= form.read(*(said[part._id] for part in form.components))
        for name in _elsewhere(recipe):  # what nobody has touched is what the method wants it to be
            if params.get(name) == _typed(SHARED[name].default):
                del params[name]
        return recipe, params, self._place(said)

    def _place(self, said: Mapping[int, Any]) -> str:
        place = str(said[self.target._id])
        if place == "hf_jobs":
            place = f"hf_jobs:{said[self.hardware._id] or ''}:{said[self.limit._id]}"
            place += f":{said[self.machines._id]}" if said[self.machines._id] != "1" else ""
        return place

    def fill(self, status: Mapping[str, Any]) -> list[Any]:
        """An update for each of `inputs` that shows the settings of a run."""
        params, recipe = status["params"], status["recipe"]
        columns = params.get("columns") or {}
        cell = cell_of(recipe, params)
        updates: dict[int, Any] = {
            self.dataset._id: params["dataset"],
            **self._fill_place(str(status["target"])),
            self.cell._id: cell,
            self.bad_rows._id: params.get("bad_rows", "stop"),
            self.same_rows._id: params.get("same_rows", "keep"),
        }
        if recipe in PICTURES:
            updates |= self.pictures.fill(recipe, params)
            return [updates.get(part._id, gr.skip()) for part in self.inputs]
        updates |= {
            self.model._id: params["model"],
            self.start._id: params.get("start_from", ""),
            self.grid._id: cell,
            self.reward._id: params.get("reward", "overlap"),
            self.long_rows._id: params.get("long_rows", "cut"),
            self.measure._id: bool(params.get("evaluate_after")),
            **{part._id: _column(columns.get(role, "")) for role, part in zip(ROLES, self.roles, strict=True)},
        }
        for form in self._forms(recipe):
            updates |= {part._id: new for part, new in zip(form.components, form.fill(params), strict=True)}
        return [updates.get(part._id, gr.skip()) for part in self.inputs]

    def _fill_place(self, place: str) -> dict[int, Any]:
        target, _, rest = place.partition(":")
        flavor, seconds, machines = (*rest.split(":"), "", "")[:3]
        rented = {self.hardware._id: flavor, self.limit._id: seconds, self.machines._id: machines or "1"}
        return {self.target._id: target, **(rented if flavor else {})}

    def mapping(self, chosen: Sequence[str]) -> dict[str, str]:
        """{role: column} of what the role fields hold."""
        return {role: column for role, column in zip(ROLES, chosen, strict=True) if column}

    def show_columns(self, look: Mapping[str, Any], mapping: Mapping[str, str]) -> list[Any]:
        """Updates for the accordion and each role field: the columns that there are, what is chosen."""
        choices = [("by its name", ""), *((column, column) for column in look["columns"])]
        fields = [
            gr.update(choices=choices, value=mapping.get(role, ""), visible=shows(role in look["roles"]))
            for role in ROLES
        ]
        unknown = bool(look["problem"]) and look["problem"]["code"] == "data.columns"
        return [gr.update(open=unknown or bool(mapping)), *fields]

    def show_groups(self, cell: str) -> list[Any]:
        """An update for each of `groups`."""
        recipe, _, adapter = cell.partition("/")
        if recipe in PICTURES:
            own = self.pictures.show_groups(recipe)
            return [gr.update(visible=own.get(name, name.startswith("pictures-"))) for name in self.all_groups]
        shown = {recipe, *(name for name in self.groups if name.startswith("text-"))}
        if "reward" in METHODS[recipe].params.model_fields:
            shown.add("rewarded")
        if adapter in LORAS:
            shown.add("lora")
        if adapter in PROMPTS:
            shown.add("prompts")
        return [gr.update(visible=name in shown) for name in self.all_groups]

    @property
    def all_groups(self) -> dict[str, gr.Column]:
        """What shows for some methods only, those of pictures among them."""
        return self.groups | self.pictures.groups

    def _forms(self, recipe: str) -> Iterator[Form]:
        yield from self.forms
        if recipe in self.own:
            yield self.own[recipe]


def cell_of(recipe: str, params: Mapping[str, Any]) -> str:
    """Method and adapter in one."""
    return f"{recipe}/" if recipe in PICTURES else f"{recipe}/{params.get('adapter', 'lora')}"


def _elsewhere(recipe: str) -> list[str]:
    """Shared fields that begin with another value for this method."""
    own = METHODS[recipe].params.model_fields
    return [name for name in SHARED if name not in PLACED and own[name].default != SHARED[name].default]


def _typed(value: Any) -> Any:
    """A default as its field holds it."""
    return value if isinstance(value, bool) else str(value).removesuffix(".0")


def _column(name: str) -> Any:
    return gr.update(choices=[("by its name", ""), *([(name, name)] if name else [])], value=name)


def picker(label: str, value: str, elem_id: str, about: str) -> gr.Dropdown:
    return gr.Dropdown(
        [value], value=value, label=label, info=about, allow_custom_value=True, min_width=220, scale=4, elem_id=elem_id
    )
