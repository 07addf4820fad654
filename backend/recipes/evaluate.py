"""Evaluation: models answer the same questions, and the answers are measured. Runs alone:

    mkdir -p /tmp/measured && echo '{"max_rows": 20}' > /tmp/measured/params.json
    python -m backend.recipes.evaluate /tmp/measured/params.json

Answers come to `/tmp/measured/answers/`, a line each as they are made, so a run that was stopped asks nothing twice;
`results.json` has the figures and `answers.parquet` every row with what each model said of it. Several processes (see
`together`) deal the questions out; the first one measures.
"""

from __future__ import annotations

import difflib
import json
import re
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from backend import events as ev
from backend.errors import BadData, BadInput
from backend.metrics import METRICS, ON_HUB, about
from backend.recipes import checkpoints, hub_metric, process, questions, scoring, together
from backend.recipes.answering import Interrupted, Row
from backend.recipes.asking import ANSWERS, Names, Work, interrupted, name_of
from backend.recipes.params import check
from backend.recipes.process import say
from backend.recipes.provider import NAME as PROVIDER
from backend.recipes.provider import NO_CHANCES
from backend.recipes.questions import Asked, Question
from backend.recipes.reading import short_name
from backend.starter import MODEL_ID

RESULTS, TABLE = "results.json", "answers.parquet"
MOST_MODELS = 8


class EvaluateParams(BaseModel):
    """What is measured on what. A field that is left out, empty or None has its default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, str_strip_whitespace=True)

    models: Names = Field(
        [MODEL_ID],
        title="Models",
        description="A model, MODEL + ADAPTER, or run/ID; the first is what the others are compared with",
    )
    dataset: str = Field("sample/evaluation", title="Dataset", description="A sample, an upload, a file or a Hub id")
    dataset_split: str = Field(
        "train", title="Split", description="Of a Hub dataset whose name tells none; a file has one"
    )
    columns: dict[str, str] = Field({}, title="Columns", description="Which column holds prompt, completion …")
    metrics: Names = Field([], title="Metrics", description="Empty takes those that fit the data")
    max_rows: int = Field(0, ge=0, title="Rows", description="Use only the first rows; 0 uses all")
    pick_rows: Literal["first", "random"] = Field(
        "first", title="Which rows", description="Of a limited number: the first, or drawn from all"
    )
    mode: Literal["auto", "generation", "likelihood"] = Field(
        "auto", title="Mode", description="Answers are written, or the likeliest of given choices is taken"
    )
    max_new_tokens: int = Field(32, ge=1, le=4096, title="Longest answer", description="In tokens")
    stop: str = Field("", title="Stop at", description="Text that ends an answer")
    pattern: str = Field("", title="Pattern", description="Regular expression for the metric pattern")
    json_schema: str = Field("", title="JSON schema", description="For the metric json_schema")
    reward_model: str = Field("", title="Reward model", description="A reward run, run/ID, for the metric reward")
    per_device_eval_batch_size: int = Field(32, ge=1, le=1024, title="Batch size", description="Rows asked at once")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", title="Precision", description="Auto takes bf16 where the hardware has it"
    )
    temperature: float = Field(0.0, ge=0, le=5, title="Temperature", description="0 takes the likeliest token")
    seeds: int = Field(
        1, ge=1, le=20, title="Seeds", description="Answers drawn to each question; figures are means over them"
    )
    seed: int = Field(0, ge=0, lt=2**31, title="Seed", description="The first of them, and of the rows for intervals")
    held_out_of: str = Field(
        "", title="Held out of", description="run/ID: instead of a dataset, the rows that this run kept out of training"
    )
    answers: str = Field("", title="Answers of", description="run/ID of an evaluation whose answers are taken over")

    @model_validator(mode="before")
    @classmethod
    def _left_out(cls, values: Any) -> Any:
        """What is empty is left out, and `model` with `adapter` is one of `models`."""
        if not isinstance(values, dict):
            return values
        values = {name: value for name, value in values.items() if value is not None and value != "" and value != []}
        model, adapter = values.pop("model", ""), values.pop("adapter", "")
        if (model or adapter) and "models" not in values:
            values["models"] = [" + ".join(part for part in (model or MODEL_ID, adapter) if part)]
        return values

    @field_validator("models")
    @classmethod
    def _not_too_many(cls, value: list[str]) -> list[str]:
        if len(value) > MOST_MODELS:
            raise ValueError(f"use at most {MOST_MODELS} models")
        return value

    @field_validator("metrics")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        for name in value:
            if name not in METRICS and not ON_HUB.fullmatch(name):
                near = difflib.get_close_matches(name, METRICS, n=1)
                raise ValueError(
                    f"there is no metric {name!r}; "
                    + (f"perhaps it is {near[0]!r}" if near else f"use some of {', '.join(METRICS)}, or hub:NAME")
                )
        return value

    @model_validator(mode="after")
    def _drawn(self) -> EvaluateParams:
        if self.seeds > 1 and not self.temperature:
            raise ValueError(
                f"seeds is {self.seeds} and temperature 0, at which every answer would be the same; "
                "set temperature, for example 0.7"
            )
        return self

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"it is no regular expression: {error}") from None
        return value


Params = EvaluateParams


def preflight(params: EvaluateParams) -> None:
    """Read the data, and say which metric does not fit them. Raises BadData, BadInput, NotFound."""
    if params.json_schema:
        scoring.check_schema(params.json_schema)
    if params.answers:
        _answered(Path(params.answers))
    elif params.held_out_of:
        _trained(Path(params.held_out_of))
    elif questions.is_local(params.dataset):
        _metrics(params, _asked(params).questions)


def run(params: EvaluateParams, folder: Path) -> None:
    """Ask, measure, and tell of it on standard output. Raises LabError."""
    begun = time.perf_counter()
    if (folder / RESULTS).exists():
        told = json.loads((folder / RESULTS).read_text())
        say(ev.Started())
        say(ev.Logged(text="This evaluation had finished already. Nothing was done."))
        say(ev.Finished(reason="had finished already", values=scoring.flat(told)))
        return
    together.meet()
    asked = together.agreed(_questions(params, folder) if together.first() else None)
    names = _metrics(params, asked.questions)
    for name in names:
        if name not in METRICS:
            hub_metric.load(name)  # before anything is asked
    if together.first():
        questions.keep(asked, folder)
    for one in asked.failed[:20]:
        say(ev.Logged(level="warning", text=f"Row {one['row']} can't be asked: {one['error']}."))
    models = [{"name": name_of(place), "place": place} for place in params.models]
    words = f"{len(asked.questions):,} questions to {len(models)} model{'s' * (len(models) != 1)}"
    say(ev.Logged(text=f"{words}: {', '.join(names)}."))
    work = Work(params, folder, asked.questions, names)
    try:
        drawn = [*zip(*(work.of(number, place) for number, place in enumerate(params.models)), strict=True)]
    except Interrupted:
        if together.first():
            interrupted(folder, "what was answered", work.done)
        return
    if not together.first():
        together.wait()
        return
    answered = drawn[0]
    if all("error" in row for rows in answered for row in rows):
        raise BadData(f"Every row failed; the first: {answered[0][0]['error']}.", "See the log.", "data.failed")
    say(ev.Logged(text="Measuring …"))
    told = scoring.score(
        names, asked.questions, answered, models, params.pattern, params.json_schema, params.seed,
        lambda text: say(ev.Logged(level="warning", text=text)), drawn[1:],
    )  # fmt: skip
    for number, one in enumerate(told["models"]):
        one |= work.about(number)
    data = f"rows held out of run/{Path(params.held_out_of).name}" if params.held_out_of else short_name(params.dataset)
    told |= {"dataset": data, "unasked": asked.failed, "at": time.time()}
    _keep_table(asked.questions, answered, told, folder, drawn[1:])
    _write(folder / RESULTS, told)
    for row in told["failed"][:20]:
        say(
            ev.Logged(
                level="warning", text=f"Row {row['row']} of {models[row['model']]['name']} failed: {row['error']}."
            )
        )
    for pair in told["pairs"]:
        names_of = f"{models[pair['b']]['name']} beside {models[pair['a']]['name']}"
        say(ev.Logged(text=f"{pair['title']}, {names_of}: {pair['verdict']}"))
    say(ev.Produced(kind="answers", name="answers", file=TABLE))
    say(ev.Produced(kind="evaluation", name="results", file=RESULTS))
    values: dict[str, Any] = scoring.flat(told)
    say(ev.Finished(values=values | {"rows": len(asked.questions), "seconds": round(time.perf_counter() - begun, 1)}))
    together.wait()


def _questions(params: EvaluateParams, folder: Path) -> Asked:
    """Those that were asked before, of this run or another, or anew."""
    if params.answers:
        _take_over(Path(params.answers), folder)
    return questions.kept(folder) if (folder / questions.FILE).exists() else _asked(params)


def _asked(params: EvaluateParams) -> Asked:
    if params.held_out_of:
        asked = _held_out(Path(params.held_out_of))
        return questions.some(asked, params.max_rows, params.seed, params.pick_rows == "random")
    drawn = params.pick_rows == "random"
    most = 0 if drawn else params.max_rows
    asked = questions.read(params.dataset, params.dataset_split, most, params.columns)
    return questions.some(asked, params.max_rows, params.seed, drawn)


def _trained(run: Path) -> str:
    """The recipe of a run that trained. Raises BadInput for another."""
    from backend.recipes import METHODS

    recipe = str(json.loads((run / "job.json").read_text())["recipe"])
    if recipe not in METHODS:
        raise BadInput(f"Run {run.name} trained nothing, so it held nothing out.", "Name a dataset.")
    return recipe


def _held_out(run: Path) -> Asked:
    """The rows that a training run measured itself on. Raises BadInput where it kept none."""
    from backend.recipes import METHODS, data

    recipe = _trained(run)
    settings = check(METHODS[recipe].params, json.loads((run / "params.json").read_text()))
    _, held = data.split(data.read(settings, METHODS[recipe].wants).dataset(), settings.eval_rows, settings.seed)
    if held is None:
        raise BadInput(f"Run {run.name} held no rows out (eval_rows is 0).", "Name a dataset to measure on.")
    return Asked([questions.of(number, row, {}) for number, row in enumerate(held, 1)], [])


def _metrics(params: EvaluateParams, asked: Sequence[Question]) -> list[str]:
    """Those that were named, or that fit. Raises BadInput for one that does not fit the data."""
    names = params.metrics or scoring.fitting(asked, params.pattern, params.json_schema)
    for name in names:
        if why := scoring.unfit(name, asked, params.pattern, params.json_schema, params.reward_model):
            raise BadInput(f"The metric {name} does not fit {short_name(params.dataset)}: {why}.", "Choose others.")
    if params.mode == "likelihood" and not all(one.choices or not one.prompt for one in asked):
        wrong = [name for name in names if about(name).needs == "answers"]
        if wrong:
            raise BadInput(
                f"mode is likelihood; {', '.join(wrong)} needs answers, and the data have no column choices.",
                "Use mode auto, or perplexity and bits_per_byte.",
            )
    if at := next((one for one in params.models if PROVIDER.fullmatch(one)), ""):
        wrong = [name for name in names if about(name).needs in ("likelihood", "preference")]
        if wrong or (all(one.choices for one in asked) and params.mode != "generation"):
            what = f"the metric {wrong[0]} needs them" if wrong else "choices are judged by them"
            raise BadInput(f"{at} {NO_CHANCES}; {what}.", "Use mode generation and metrics of answers.")
    return list(names)


def _answered(other: Path) -> None:
    """Raises BadInput for a run without answers."""
    if not (other / questions.FILE).exists():
        raise BadInput(f"Run {other.name} has no answers.", "Name a run of the recipe evaluate.")


def _take_over(other: Path, folder: Path) -> None:
    """The answers of another evaluation, so that only what they lack is asked."""
    if (folder / questions.FILE).exists():
        return
    _answered(other)
    shutil.copytree(other / ANSWERS, folder / ANSWERS, dirs_exist_ok=True)
    shutil.copyfile(other / questions.FILE, folder / questions.FILE)


def _keep_table(
    asked: Sequence[Question],
    answered: Sequence[Sequence[Row]],
    told: dict[str, Any],
    folder: Path,
    more: Sequence[Sequence[Sequence[Row]]] = (),
) -> None:
    """Every row with what each model said and scored, as Parquet; the scores of rows go there and not into results.

    `more` are further drawings of the same questions; their answers are columns, too.
    """
    import pyarrow
    from pyarrow import parquet

    table: dict[str, list[Any]] = {
        "row": [one.number for one in asked],
        "prompt": [one.shown for one in asked],
        "reference": [one.reference for one in asked],
    }
    for column in dict.fromkeys(key for one in asked for key in one.more):
        table[f"of.{column}"] = [None if one.more.get(column) is None else str(one.more[column]) for one in asked]
    for number, rows in enumerate(answered):
        for column in ("answer", "error", "confidence", "tokens", "seconds", "log_likelihood", "reward", "dollars"):
            if any(column in row for row in rows):
                table[f"{number}.{column}"] = [row.get(column) for row in rows]
    for draw, models in enumerate(more, 2):
        for number, rows in enumerate(models):
            table[f"{number}.said{draw}"] = [row.get("answer") for row in rows]
    for figure, models in told.pop("scores").items():
        for number, scores in enumerate(models):
            table[f"{number}.score.{figure}"] = scores
    new = folder / f"{TABLE}.new"
    parquet.write_table(pyarrow.table(table), new)
    checkpoints.sync(new)
    new.replace(folder / TABLE)


def _write(path: Path, value: Any) -> None:
    new = path.with_name(f"{path.name}.new")
    new.write_text(json.dumps(value, ensure_ascii=False))
    checkpoints.sync(new)
    new.replace(path)


if __name__ == "__main__":
    process.leave(process.main(Params, run))
