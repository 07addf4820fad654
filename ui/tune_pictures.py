"""The fields of the Tune steps that teach an image model, read into params and filled from a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from backend.lab import Lab
from backend.recipes import PICTURES
from backend.recipes.image_params import ImageTrainParams
from ui.forms import Form
from ui.page import shows
from ui.toasts import toasts

FIRST = next(iter(PICTURES))
SHARED = ImageTrainParams.model_fields
BASIC = ("max_steps", "learning_rate", "per_device_train_batch_size", "resolution", "validation_prompt")
PLACED = ("model", "dataset", "caption_column", "bad_rows", "same_rows", "start_from", "dry_run")  # have their places
FOLDED = (  # of a way's own fields, those that few need
    *("lora_alpha", "lora_dropout", "target_modules", "train_text_encoder"),
    *("with_prior_preservation", "class_prompt", "num_class_images", "prior_loss_weight"),
)
ABOUT = {
    "image_lora": "Image LoRA: a few weights learn to draw the thing; a rare word calls it up",
    "textual_inversion": "Textual inversion: one new word is learned, for larger models: the starter hardly learns so",
}


class PictureForm:
    """Drawn in two steps, `data` and `method`. `groups` are what shows for one way only, by its name."""

    def __init__(self) -> None:
        self.components: list[gr.components.Component] = []
        self.shared: list[Form] = []
        self.own: dict[str, list[Form]] = {}
        self.groups: dict[str, gr.Column] = {}

    def data(self) -> None:
        """Which column has captions."""
        self.captions = gr.Dropdown(
            [("All are described alike", "")], value="", label="What each picture shows is told by",
            info="A column with text; else all are described by the same words", elem_id="tune-captions",
        )  # fmt: skip
        self.components.append(self.captions)

    def method(self) -> None:
        """The way, the model, what is learned, and its settings."""
        self.way = gr.Radio(
            [(ABOUT[name], name) for name in PICTURES], value=FIRST, label="How it learns", elem_id="tune-way"
        )
        self.model = gr.Dropdown(
            [SHARED["model"].default], value=SHARED["model"].default, label="Image model", allow_custom_value=True,
            info="The starter is ready; or a diffusers pipeline of the Hub", elem_id="tune-image-model",
        )  # fmt: skip
        self.components += [self.way, self.model]
        for name, recipe in PICTURES.items():
            fields = recipe.params.model_fields
            own = [one for one in fields if one not in SHARED and one not in PLACED]
            own += ["instance_prompt"] if "instance_prompt" not in own else []
            with gr.Column(visible=name == FIRST) as self.groups[name]:
                if "start_from" in fields:
                    self.start = gr.Dropdown(
                        [("Nothing: begin anew", "")], value="", label="Start from", allow_custom_value=True,
                        info="Nothing, or an image LoRA of an earlier run: run/ID", elem_id="tune-image-start",
                    )  # fmt: skip
                    self.components.append(self.start)
                self.own[name] = [self._form(recipe.params, [one for one in own if one not in FOLDED], name)]
                if folded := [one for one in own if one in FOLDED]:
                    with gr.Accordion("What is kept, text encoder, layers", open=False, elem_id=f"tune-{name}-folded"):
                        self.own[name].append(self._form(recipe.params, folded, name))
        self.shared.append(self._form(ImageTrainParams, list(BASIC), "pictures"))
        rest = [name for name in SHARED if name not in BASIC and name not in PLACED]
        with gr.Accordion("More settings", open=False, elem_id="tune-pictures-more"):
            self.shared.append(self._form(ImageTrainParams, rest, "pictures"))

    def _form(self, params: Any, names: list[str], prefix: str) -> Form:
        form = Form(params, prefix=f"tune-{prefix.replace('_', '-')}", only=names)
        self.components += form.components
        return form

    def _forms(self, recipe: str) -> list[Form]:
        return [*self.shared, *self.own[recipe]]

    def read(self, recipe: str, said: Mapping[int, Any]) -> dict[str, Any]:
        """Params as typed, of the values by the components' ids; without dataset and what is done with its rows."""
        params: dict[str, Any] = {"model": said[self.model._id] or "", "caption_column": said[self.captions._id] or ""}
        if "start_from" in PICTURES[recipe].params.model_fields:
            params["start_from"] = said[self.start._id] or ""
        for form in self._forms(recipe):
            params |= form.read(*(said[part._id] for part in form.components))
        return params

    def fill(self, recipe: str, params: Mapping[str, Any]) -> dict[int, Any]:
        """An update by id for each component that shows a setting of a run."""
        column = params.get("caption_column", "")
        updates: dict[int, Any] = {
            self.way._id: recipe,
            self.model._id: params["model"],
            self.start._id: params.get("start_from", ""),
            self.captions._id: self.columns([column] if column else [], column),
        }
        for form in self._forms(recipe):
            updates |= {part._id: new for part, new in zip(form.components, form.fill(params), strict=True)}
        return updates

    def columns(self, names: list[str], value: str) -> Any:
        """An update of the captions: the columns that there are, and which is chosen."""
        return gr.update(choices=[("All are described alike", ""), *((one, one) for one in names)], value=value)

    def show_groups(self, recipe: str) -> dict[str, bool]:
        """Which of `groups` show."""
        return {name: name == recipe for name in self.groups}


def models(lab: Lab, query: str, who: str) -> Any:
    """An update of the model's field with what can draw."""
    found = toasts(lab.image_models)(query, who)
    return gr.update(choices=[(f"{one.name} · {one.note or one.source}", one.name) for one in found])


def starts(lab: Lab, model: str, who: str) -> Any:
    """An update of what an image LoRA can start from."""
    found = [one for one in toasts(lab.image_adapters)(who, model) if one.fits and "lora" in one.note]
    return gr.update(
        choices=[("Nothing: begin anew", ""), *((f"{one.name} · {one.note}", one.name) for one in found)],
        visible=shows(True),
    )
