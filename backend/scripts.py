"""The plain Python that does what is on screen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.door import door
from backend.engines import remote, tasks_script
from backend.engines import script as engines_script
from backend.engines.tasks import TASKS, FileParams, whole
from backend.engines.text import ChatParams, CompleteParams
from backend.recipes import PICTURES, evaluate_script, harness, image_script, method_named
from backend.recipes import script as recipes_script
from backend.recipes.evaluate import EvaluateParams
from backend.recipes.params import check
from backend.recipes.provider import NAME
from backend.starter import EMBEDDER_ID, IMAGE_ID, MODEL_ID, SAMPLES, embedder_ready, locate, ready

if TYPE_CHECKING:
    from backend.lab import Lab

ANSWERS: Mapping[str, type[ChatParams] | type[CompleteParams]] = {"chat": ChatParams, "complete": CompleteParams}


class Scripts:
    """Of an answer, a task, a picture, an evaluation or a training."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    @door
    def code(self, recipe: str, params: Mapping[str, Any], owner: str) -> str:
        """The plain Python that does what a run of `recipe`, or an answer ("chat", "complete" or "image"), does.

        On a server of one's own it names this disk's folders and runs as it is; on a shared one it names the Hub's.
        """
        if recipe == "image":
            return self._lab.pictures.code(params, owner)
        if recipe in ANSWERS:
            asked = check(ANSWERS[recipe], dict(params))
            if isinstance(asked, ChatParams) and NAME.fullmatch(asked.model):
                return remote.code(asked)
            adapter = self._lab.catalog.adapter(asked.adapter, owner)
            return self._told(asked.model) + engines_script.code(
                asked, model=self._model_place(asked.model, owner), adapter=self._place(adapter, asked.adapter)
            )
        if recipe in TASKS:
            request = check(TASKS[recipe].params, whole(recipe, dict(params)))
            if self._lab.settings.public and isinstance(request, FileParams):
                request = request.model_copy(update={"file": Path(request.file).name})
            kind = self._lab.catalog.kind(request.model, recipe)
            return self._told(request.model) + tasks_script.code(recipe, request, kind, self._place(request.model))
        if recipe == "harness":
            return harness.code(check(harness.Params, dict(params)))
        if recipe == "evaluate":
            return self._evaluation_code(check(EvaluateParams, dict(params)), owner)
        if recipe in PICTURES:
            return self._picture_code(recipe, params, owner)
        method = method_named(recipe)
        settings = check(method.params, dict(params))
        dataset = self._lab.catalog.dataset(settings.dataset, owner)
        earlier = {}
        for field in ("start_from", "reward"):  # these may name runs, which only we can find
            if name := getattr(settings, field, ""):
                earlier[field] = self._place(
                    str(self._lab.resolving.place(method.names.get(field, "adapter"), name, owner)), name
                )
        settings = settings.model_copy(update=earlier)
        return self._told(settings.model) + recipes_script.code(
            recipe,
            settings,
            model=self._model_place(settings.model, owner),
            dataset=self._place(dataset, settings.dataset),
        )

    def _picture_code(self, recipe: str, params: Mapping[str, Any], owner: str) -> str:
        settings = check(PICTURES[recipe].params, dict(params))
        asked = settings.model_dump()
        names = PICTURES[recipe].names.items()
        places = {
            field: self._place(str(self._lab.resolving.place(kind, asked[field], owner)), asked[field])
            for field, kind in names
            if asked[field]
        }
        return image_script.code(recipe, settings, places)

    def _model_place(self, name: str, owner: str) -> str:
        return self._place(self._lab.catalog.model(name, owner), name) if name.startswith("run/") else self._place(name)

    def _evaluation_code(self, params: EvaluateParams, owner: str) -> str:
        models = []
        for name in params.models:
            model, _, adapter = self._lab.catalog.answerer(name, owner).partition(" + ")
            models.append((name, self._place(model), self._place(adapter, name) if adapter else ""))
        dataset = self._lab.catalog.dataset(params.dataset, owner)
        return evaluate_script.code(params, models, self._place(dataset, params.dataset))

    def _place(self, name: str, public_name: str | None = None) -> str:
        """Where `name` is on this disk; strangers are shown the last part of a path instead."""
        if self._lab.settings.public:
            return Path(name).name if name.startswith("/") else public_name or name
        if name == IMAGE_ID:
            return locate(name)
        there = {MODEL_ID: ready, EMBEDDER_ID: embedder_ready}.get(name)
        return locate(name) if name in SAMPLES or (there and there(self._lab.settings.starter)) else name

    def _told(self, model: str) -> str:
        place = self._place(model)
        return "" if place == model else f"# {place} holds {model}, which is also on the Hub.\n"
