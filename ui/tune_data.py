"""The step Data of Tune: which data, what of them is learned, and what learns; data and method fit one another."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from backend.lab import Lab
from backend.recipes import METHODS, PICTURES, TRAINED
from backend.recipes.image_data import IMAGES
from ui import picture_views, tune_pictures, tune_views
from ui.page import PRIVATE, Page, shows
from ui.toasts import toasts
from ui.tune_form import FIRST, TuneForm, picker
from ui.visitor import owner

FILES = [".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".txt", ".zip", *IMAGES]
LEARNERS = [("A language model", "text"), ("An image model, from pictures", "pictures")]


class DataStep:
    """`draw` stands in the step, `unfit` beside the methods; `listen` when all steps are drawn."""

    def __init__(self, lab: Lab, form: TuneForm) -> None:
        self._lab, self._form = lab, form

    def draw(self) -> None:
        first = METHODS[FIRST].params.model_fields["dataset"].default
        self.learner = gr.Radio(LEARNERS, value="text", label="What learns", elem_id="tune-learner")
        with gr.Row(elem_classes="beside"):
            self._form.dataset = picker(
                "Dataset", first, "tune-dataset", "A sample, a file of yours, or owner/name on the Hub"
            )
            self._upload = gr.UploadButton(
                "Upload files", file_types=FILES, file_count="multiple", scale=0, min_width=130, elem_id="tune-upload",
            )  # fmt: skip
        self._facts = gr.HTML(elem_id="tune-facts", padding=False)
        self._form.data()
        with gr.Column() as self._form.groups["text-lens"]:
            self._show_lens = gr.Button(
                "Show what the model learns from", size="sm", scale=0, min_width=220, elem_id="tune-lens-button"
            )
            self._lens = gr.HTML(elem_id="tune-lens", padding=False)
            self._form.long()

    def unfit(self) -> None:
        """What is wrong with the data, for the chosen method."""
        self._unfit = gr.HTML(elem_id="tune-unfit", padding=False)

    def listen(self, page: Page) -> None:
        form, pictures = self._form, self._form.pictures
        looked = [
            *(self._facts, self._lens, self._unfit, form.bad_rows, form.same_rows, form.columns),
            *(*form.roles, pictures.captions),
        ]
        picked = [form.cell, form.grid, self.learner, pictures.way]
        asks, groups = [form.dataset, form.cell, form.bad_rows, form.same_rows], list(form.all_groups.values())
        changed = form.dataset.change(self.on_data, asks, looked, **PRIVATE)
        changed.failure(lambda: ["", "", ""], None, looked[:3], **PRIVATE)
        form.dataset.focus(self.on_datasets, form.cell, form.dataset, **PRIVATE)
        self._upload.upload(self.on_upload, [self._upload, form.cell], [form.dataset, *picked, *groups], **PRIVATE)
        for choice in (self.learner, pictures.way):
            choice.input(
                self.on_learner,
                [self.learner, pictures.way, form.grid, form.dataset, form.bad_rows, form.same_rows],
                [*picked, *groups, form.dataset, *looked], trigger_mode="always_last", **PRIVATE,
            )  # fmt: skip
        page.blocks.load(self.on_data, asks, looked, **PRIVATE)
        for field in (*form.roles, form.bad_rows, form.same_rows):
            field.input(self.on_columns, [*asks, *form.roles], looked, trigger_mode="always_last", **PRIVATE)
        form.grid.choose(
            self.on_cell, [form.dataset, form.grid, form.bad_rows, form.same_rows, *form.roles],
            [*picked, *groups, form.dataset, *looked], trigger_mode="always_last", **PRIVATE,
        )  # fmt: skip
        self._show_lens.click(
            lambda: "<p class=quiet>Reading rows as the trainer does: about ten seconds …</p>", None, self._lens,
            **PRIVATE,
        )  # fmt: skip
        seen = self._show_lens.click(self.on_lens, form.inputs, [self._lens, form.long_rows], **PRIVATE)
        seen.failure(lambda: "", None, self._lens, **PRIVATE)

    # -- looking at them ----------------------------------------------------------------------------------------

    @toasts
    def on_data(self, name: str, cell: str, bad: str, same: str, request: gr.Request) -> list[Any]:
        return self._looking(name, cell, {"bad_rows": bad, "same_rows": same}, {}, owner(request))

    @toasts
    def on_columns(self, request: gr.Request, name: str, cell: str, bad: str, same: str, *chosen: str) -> list[Any]:
        mapping, rules = self._form.mapping(chosen), {"bad_rows": bad, "same_rows": same}
        recipe = cell.partition("/")[0]
        if recipe in PICTURES:
            return self._draw_pictures(name or "", recipe, rules, owner(request))
        return self._draw(
            self._lab.look(name or "", owner(request), recipe, columns=mapping, rules=rules), mapping, rules
        )

    @toasts
    def on_lens(self, request: gr.Request, *values: Any) -> list[Any]:
        recipe, params, _ = self._form.read(values)
        seen, drops = self._lab.lens(recipe, params, owner(request)), recipe == "reward"
        return [tune_views.lens(seen, left_out=drops), gr.update(visible=shows(seen["long"]["count"] and not drops))]

    def _looking(
        self, name: str, cell: str, rules: Mapping[str, str], mapping: Mapping[str, str], who: str
    ) -> list[Any]:
        """Looks with `mapping`, or with the columns that look right where it finds nothing."""
        recipe = cell.partition("/")[0]
        if recipe in PICTURES:
            return self._draw_pictures(name or "", recipe, rules, who)
        look = self._lab.look(name or "", who, recipe, columns=mapping, rules=rules)
        if look["problem"] and look["problem"]["code"] == "data.columns" and look["guess"]:
            mapping = look["guess"]
            look = self._lab.look(name, who, recipe, columns=mapping, rules=rules)
        return self._draw(look, mapping, rules)

    def _draw(self, look: Mapping[str, Any], mapping: Mapping[str, str], rules: Mapping[str, str]) -> list[Any]:
        """An update for each of `looked`."""
        columns = self._form.show_columns(look, mapping)
        return [tune_views.facts(look, rules), "", *_trouble(look), *columns, gr.skip()]

    def _draw_pictures(self, name: str, recipe: str, rules: Mapping[str, str], who: str) -> list[Any]:
        """An update for each of `looked`; the captions of the sample are taken where they have the words."""
        look = self._lab.look(name, who, recipe, rules=rules)
        told = "text" if name.startswith("sample/") and recipe == "image_lora" else ""
        captions = self._form.pictures.columns(look["captions"], told)
        columns = [gr.skip()] * (1 + len(self._form.roles))
        return [picture_views.facts(look, rules), "", *_trouble(look), *columns, captions]

    # -- choosing them, and what learns -------------------------------------------------------------------------

    @toasts
    def on_datasets(self, cell: str, request: gr.Request) -> Any:
        return gr.update(choices=self._datasets(owner(request), cell))

    @toasts
    def on_upload(self, files: list[str], cell: str, request: gr.Request) -> list[Any]:
        """Pictures are for an image model, whatever was chosen before."""
        name, seen = self._lab.upload_files(owner(request), [Path(file) for file in files])
        if seen and cell.partition("/")[0] not in PICTURES:
            cell = f"{tune_pictures.FIRST}/"
        chosen = gr.update(choices=self._datasets(owner(request), cell), value=name)
        return [chosen, *_picked(cell), *self._form.show_groups(cell)]

    @toasts
    def on_cell(self, request: gr.Request, name: str, cell: str, bad: str, same: str, *chosen: str) -> list[Any]:
        rules = {"bad_rows": bad, "same_rows": same}
        return self._with_cell(name, cell, rules, self._form.mapping(chosen), owner(request))

    @toasts
    def on_learner(
        self, request: gr.Request, kind: str, way: str, grid: str, name: str, bad: str, same: str
    ) -> list[Any]:
        cell = f"{way}/" if kind == "pictures" else grid
        return self._with_cell(name, cell, {"bad_rows": bad, "same_rows": same}, {}, owner(request))

    def _with_cell(
        self, name: str, cell: str, rules: Mapping[str, str], mapping: Mapping[str, str], who: str
    ) -> list[Any]:
        """What counts for the method shows; data that it can't learn from, as far as we have them, give way."""
        recipe = cell.partition("/")[0]
        default = TRAINED[recipe].params.model_fields["dataset"].default
        shown = [*_picked(cell), *self._form.show_groups(cell)]
        gives_way = name.startswith("sample/") or name.endswith(".zip") or recipe in PICTURES
        if gives_way and any(one.name == name and not one.fits for one in self._lab.datasets(who, recipe)):
            return [*shown, gr.update(value=default), *[gr.skip()] * (7 + len(self._form.roles))]
        return [*shown, gr.skip(), *self._looking(name, cell, rules, mapping, who)]

    def _datasets(self, who: str, cell: str) -> list[tuple[str, str]]:
        """What the method can learn from comes first; the rest is offered, too, and says that it does not fit."""
        recipe = cell.partition("/")[0]
        found = sorted(self._lab.datasets(who, recipe), key=lambda entry: not entry.fits)
        return [(one.name if one.fits else f"{one.name} · not for {recipe.upper()}", one.name) for one in found]


def _trouble(look: Mapping[str, Any]) -> list[Any]:
    """What is wrong, and an update for each of the fields that say what becomes of it."""
    report = look["report"]
    shown = [gr.update(visible=shows(report[what])) for what in ("wrong", "twice")]
    return [tune_views.problem(look["problem"]), *shown]


def _picked(cell: str) -> list[Any]:
    """An update for each of `picked`: the cell, the grid, what learns, and how from pictures."""
    recipe = cell.partition("/")[0]
    if recipe in PICTURES:
        return [cell, gr.skip(), "pictures", recipe]
    return [cell, cell, "text", gr.skip()]
