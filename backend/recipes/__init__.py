"""What can be launched: `RECIPES`, which are the training `METHODS`, those that teach by `PICTURES`, and `OTHERS`.

Each also runs alone: `python -m backend.recipes.sft params.json`.

Importing this is light: a recipe's module is imported when it is asked for, and the heavy libraries when it runs.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

from pydantic import BaseModel

from backend.errors import NotFound
from backend.recipes import data
from backend.recipes.params import TrainParams

# See Catalog; `run` becomes its folder. `pipeline` and `lesson`, models that draw and what was taught: ImageCatalog.
Kind = Literal["model", "dataset", "adapter", "answerer", "reward", "run", "pipeline", "lesson"]

TRAINS: Mapping[str, Kind] = {"model": "model", "dataset": "dataset", "start_from": "adapter"}  # names in TrainParams


@dataclass(frozen=True)
class Recipe:
    """Durable work: its module has `Params`, `preflight(params)` and `run(params, folder)`.

    `names` tells which fields of its Params name something in the catalog, and what; the Lab puts in each one's stead
    where it is on this disk. A field may hold a list of names.
    """

    module: str
    title: str
    about: str
    names: Mapping[str, Kind] = field(default_factory=lambda: TRAINS)

    @property
    def params(self) -> type[BaseModel]:
        """What its form is drawn from."""
        kind: type[BaseModel] = import_module(self.module).Params
        return kind

    def preflight(self, params: BaseModel) -> None:
        """Everything that can be checked in a second without loading the model.

        Names in `params` are resolved: a starter or sample id, a path or a Hub id. Raises BadInput, BadData, NotFound.
        """
        import_module(self.module).preflight(params)


@dataclass(frozen=True)
class Method(Recipe):
    """A recipe that trains: its module also has `WANTS`, and the Tune tab draws its form."""

    @property
    def params(self) -> type[TrainParams]:
        """What its form is drawn from."""
        kind: type[TrainParams] = import_module(self.module).Params
        return kind

    @property
    def wants(self) -> tuple[data.Kind, ...]:
        """The kinds of data it learns from, the most wanted first: `WANTS` of its module."""
        kinds: tuple[data.Kind, ...] = import_module(self.module).WANTS
        return kinds

    def look(
        self,
        dataset: str,
        limit: int = 20,
        columns: Mapping[str, str] | None = None,
        rules: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """A dataset as this recipe sees it: {columns, rows, total, kept, learned, format, kind, problem, report, roles,
        guess}.

        `rows` are the first `limit` as they are, `total` is None where it isn't known, `kept` is how many of them are
        learned from and `learned` what these become (KTO makes two of a pair), `format` says in words what was
        recognised and `kind` what it is by itself, `problem` is None or {code, message, hint}. `report` tells of the
        checked rows: {rows, good, wrong, twice}. `roles` are what a column can be here, and `guess` says which may be.
        `columns` maps roles to columns; `rules` are `bad_rows` and `same_rows` of the params, by which what is found
        is a problem or not. Raises NotFound, HubError.
        """
        return data.look(dataset, self.wants, limit, columns, data.Rules(**(rules or {})))


_REWARDED: Mapping[str, Kind] = {**TRAINS, "reward": "reward"}

METHODS: dict[str, Method] = {
    "sft": Method(
        "backend.recipes.sft",
        "Supervised fine-tuning",
        "Learns to answer as the examples do: prompts with the answers they should get.",
    ),
    "dpo": Method(
        "backend.recipes.dpo",
        "Direct preference optimisation",
        "Learns from pairs of answers, of which one was preferred.",
    ),
    "reward": Method(
        "backend.recipes.reward",
        "Reward modelling",
        "Learns to score answers from pairs of which one was preferred; PPO, GRPO and RLOO can learn from its scores.",
    ),
    "kto": Method(
        "backend.recipes.kto",
        "Kahneman-Tversky optimisation",
        "Learns from single answers that were liked or not, so no pairs are needed.",
    ),
    "grpo": Method(
        "backend.recipes.grpo",
        "Group relative policy optimisation",
        "Tries several answers to each prompt and learns from those that a reward puts above the others.",
        _REWARDED,
    ),
    "rloo": Method(
        "backend.recipes.rloo",
        "REINFORCE leave-one-out",
        "Tries several answers to each prompt, each measured against the mean of the others.",
        _REWARDED,
    ),
    "ppo": Method(
        "backend.recipes.ppo",
        "Proximal policy optimisation",
        "Answers prompts and learns from what a reward says of the answers, never far from the base.",
        _REWARDED,
    ),
    "orpo": Method(
        "backend.recipes.orpo",
        "Odds ratio preference optimisation (experimental)",
        "Fine-tuning and preference in one step, without a reference. Experimental in TRL.",
    ),
}

PICTURES: dict[str, Recipe] = {  # what teaches image models; Tune draws their forms, too
    "image_lora": Recipe(
        "backend.recipes.image_lora",
        "Image LoRA",
        "Learns from a few pictures to draw one thing, which a rare word then calls up. In the manner of DreamBooth.",
        {"model": "pipeline", "dataset": "dataset", "start_from": "lesson"},
    ),
    "textual_inversion": Recipe(
        "backend.recipes.textual_inversion",
        "Textual inversion",
        "Learns one new word for what a few pictures show, and changes nothing else of the model.",
        {"model": "pipeline", "dataset": "dataset"},
    ),
}

OTHERS: dict[str, Recipe] = {
    "merge": Recipe(
        "backend.recipes.merge",
        "Merge an adapter",
        "The adapter of a run becomes part of its base: a whole model that needs no adapter.",
        {"run": "run"},
    ),
    "export": Recipe(
        "backend.recipes.export",
        "Export to GGUF",
        "One file for llama.cpp, Ollama and LM Studio, compared with the model that it was made from.",
        {"run": "run"},
    ),
    "evaluate": Recipe(
        "backend.recipes.evaluate",
        "Evaluation",
        "Asks models the same questions and measures the answers.",
        {"models": "answerer", "dataset": "dataset", "reward_model": "adapter", "answers": "run", "held_out_of": "run"},
    ),
    "harness": Recipe(
        "backend.recipes.harness",
        "lm-evaluation-harness",
        "Its tasks on models here, with its own prompts and figures; optional.",
        {"models": "answerer", "task_file": "dataset"},
    ),
    "judge": Recipe(
        "backend.recipes.judge",
        "Judge",
        "A model says which of two stored answers is better, asked twice with the places swapped.",
        {"answers": "run", "judge": "answerer"},
    ),
    "quality": Recipe(
        "backend.recipes.quality",
        "Check a dataset",
        "Duplicates, leaks, odd lengths, languages and personal data, over all its rows.",
        {"dataset": "dataset", "other": "dataset"},
    ),
    "generate": Recipe(
        "backend.recipes.generate",
        "Have a model answer",
        "An answer to each row of a column, as a new dataset.",
        {"model": "model", "dataset": "dataset", "adapter": "adapter"},
    ),
    "pretrain_image": Recipe(
        "backend.recipes.pretrain_image",
        "Train the image starter",
        "From nothing: autoencoder, text encoder and denoiser learn from emoji and their names. Hours on a CPU.",
        {},
    ),
}

TRAINED: dict[str, Recipe] = {**METHODS, **PICTURES}
RECIPES: dict[str, Recipe] = {**TRAINED, **OTHERS}


def recipe_named(name: str) -> Recipe:
    """Raises NotFound."""
    if name not in RECIPES:
        raise NotFound(f"There is no recipe {name[:40]!r}.", f"Choose one of {', '.join(RECIPES)}.", "recipe.unknown")
    return RECIPES[name]


def method_named(name: str) -> Method:
    """Raises NotFound."""
    if name not in METHODS:
        raise NotFound(
            f"There is no training method {name[:40]!r}.", f"Choose one of {', '.join(METHODS)}.", "recipe.unknown"
        )
    return METHODS[name]


def why_not(method: str, adapter: str, device: str = "mps" if sys.platform == "darwin" else "cpu") -> str:
    """Why `method` can't train `adapter` on `device` (cpu, cuda, mps); '' when it can."""
    if adapter == "qlora":
        if find_spec("bitsandbytes") is None:
            return "4-bit weights need the package bitsandbytes, which is not installed"
        if device == "mps":
            return "4-bit weights don't train on an Apple GPU"
    return ""
