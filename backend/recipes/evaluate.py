"""Evaluation: models answer the same questions, and the answers are measured. Runs alone:

    mkdir -p /tmp/measured && echo '{"max_rows": 20}' > /tmp/measured/params.json
    python -m backend.recipes.evaluate /tmp/measured/params.json

Answers come to `/tmp/measured/answers/`, a line each as they are made, so a run that was stopped asks nothing twice;
`results.json` has the figures and `answers.parquet` every row with what each model said of it.
"""

from __future__ import annotations

import difflib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from backend import events as ev
from backend.errors import BadData, BadInput
from backend.metrics import METRICS, Need
from backend.recipes import checkpoints, device, process, questions, scoring
from backend.recipes.answering import Answerer, Interrupted, Row
from backend.recipes.params import check
from backend.recipes.process import say
from backend.recipes.questions import Asked, Question
from backend.recipes.reading import short_name
from backend.starter import MODEL_ID

RESULTS, ANSWERS, TABLE = "results.json", "answers", "answers.parquet"
MOST_MODELS = 8
_QUIET = 0.5  # seconds between two Progressed, at least


class EvaluateParams(BaseModel):
    """What is measured on what. A field that is left out, empty or None has its default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, str_strip_whitespace=True)

    models: list[str] = Field(
        [MODEL_ID],
        title="Models",
        description="A model, MODEL + ADAPTER, or run/ID; the first is what the others are compared with",
    )
    dataset: str = Field("sample/evaluation", title="Dataset", description="A sample, an upload, a file or a Hub id")
    dataset_split: str = Field("train", title="Split", description="Of a dataset on the Hub; a file has one split")
    columns: dict[str, str] = Field({}, title="Columns", description="Which column holds prompt, completion …")
    metrics: list[str] = Field([], title="Metrics", description="Empty takes those that fit the data")
    max_rows: int = Field(0, ge=0, title="Rows", description="Use only the first rows; 0 uses all")
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
    seed: int = Field(0, ge=0, lt=2**32, title="Seed", description="Of the rows drawn for intervals")
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

    @field_validator("models", "metrics", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """Text with commas is a list; a name twice is once."""
        given = value.split(",") if isinstance(value, str) else value
        if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
            return value
        return list(dict.fromkeys(one.strip() for one in given if one.strip()))

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
            if name not in METRICS:
                near = difflib.get_close_matches(name, METRICS, n=1)
                raise ValueError(
                    f"there is no metric {name!r}; "
                    + (f"did you mean {near[0]!r}?" if near else f"use some of {', '.join(METRICS)}")
                )
        return value

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
    if not params.answers and not params.held_out_of and questions.is_local(params.dataset):
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
    if params.answers:
        _take_over(Path(params.answers), folder)
    asked = questions.kept(folder) if (folder / questions.FILE).exists() else _asked(params)
    names = _metrics(params, asked.questions)
    questions.keep(asked, folder)
    for one in asked.failed[:20]:
        say(ev.Logged(level="warning", text=f"Row {one['row']} can't be asked: {one['error']}."))
    models = [{"name": name_of(place), "place": place} for place in params.models]
    words = f"{len(asked.questions):,} questions to {len(models)} model{'s' * (len(models) != 1)}"
    say(ev.Logged(text=f"{words}: {', '.join(names)}."))
    work = _Work(params, folder, asked.questions, names)
    try:
        answered = [work.of(number, place) for number, place in enumerate(params.models)]
    except Interrupted:
        if (folder / "stop").read_text().strip() == "cancel":
            say(ev.Cancelled(reason="cancelled by its owner"))
        else:
            say(ev.Paused(step=work.done, reason="stopped; what was answered is kept"))
        return
    if all("error" in row for rows in answered for row in rows):
        raise BadData(f"Every row failed; the first: {answered[0][0]['error']}.", "See the log.", "data.failed")
    say(ev.Logged(text="Measuring …"))
    told = scoring.score(
        names, asked.questions, answered, models, params.pattern, params.json_schema, params.seed,
        lambda text: say(ev.Logged(level="warning", text=text)),
    )  # fmt: skip
    data = f"rows held out of run/{Path(params.held_out_of).name}" if params.held_out_of else short_name(params.dataset)
    told |= {"dataset": data, "unasked": asked.failed, "at": time.time()}
    _keep_table(asked.questions, answered, told, folder)
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


def name_of(place: str) -> str:
    """What people call MODEL + ADAPTER: an adapter of a run is `run/ID`."""
    model, _, adapter = place.partition(" + ")
    path = Path(adapter or model)
    return f"run/{path.parent.name}" if path.is_absolute() and path.name == "adapter" else short_name(adapter or model)


def _asked(params: EvaluateParams) -> Asked:
    if params.held_out_of:
        return _held_out(Path(params.held_out_of))
    return questions.read(params.dataset, params.dataset_split, params.max_rows, params.columns)


def _held_out(run: Path) -> Asked:
    """The rows that a training run measured itself on. Raises BadInput where it kept none."""
    from backend.recipes import METHODS, data

    recipe = json.loads((run / "job.json").read_text())["recipe"]
    if recipe not in METHODS:
        raise BadInput(f"Run {run.name} trained nothing, so it held nothing out.", "Name a dataset.")
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
        wrong = [name for name in names if METRICS[name].needs == "answers"]
        if wrong:
            raise BadInput(
                f"mode is likelihood; {', '.join(wrong)} needs answers, and the data have no column choices.",
                "Use mode auto, or perplexity and bits_per_byte.",
            )
    return list(names)


def _take_over(other: Path, folder: Path) -> None:
    """The answers of another evaluation, so that only what they lack is asked."""
    if (folder / questions.FILE).exists():
        return
    if not (other / questions.FILE).exists():
        raise BadInput(f"Run {other.name} has no answers.", "Name a run of the recipe evaluate.")
    shutil.copytree(other / ANSWERS, folder / ANSWERS, dirs_exist_ok=True)
    shutil.copyfile(other / questions.FILE, folder / questions.FILE)


class _Work:
    """The passes over all models: answers, likelihoods, rewards. Each line is written when its batch is done."""

    def __init__(self, params: EvaluateParams, folder: Path, asked: Sequence[Question], names: Sequence[str]) -> None:
        self.params, self.folder, self.asked = params, folder, asked
        needs = {METRICS[name].needs for name in names}
        choices = all(one.choices for one in asked) and params.mode != "generation"
        self.passes: list[Need] = [need for need in ("answers", "likelihood", "preference", "reward") if need in needs]
        if "reward" in needs and "answers" not in needs:
            self.passes.insert(0, "answers")
        self.choices = choices
        self.held = {
            (model, need): self._held(model, need) for model in range(len(params.models)) for need in self.passes
        }
        self.done = sum(map(len, self.held.values()))
        self.total = len(self.held) * len(asked)
        self.begun, self.first = time.perf_counter(), self.done
        self.tokens = 0
        self.told = 0.0
        self._answerer: Answerer | None = None
        self._device: device.Device | None = None
        if self.done:
            say(ev.Logged(text=f"{self.done:,} of {self.total:,} were answered before and are kept."))

    def of(self, model: int, place: str) -> list[Row]:
        """A row for each question: everything that the passes found. Raises Interrupted."""
        try:
            for need in self.passes:
                self._pass(model, place, need)
        finally:
            if self._answerer:
                self._answerer.close()
                self._answerer = None
        return [scoring.join(self.held[model, need].get(one.number, {}) for need in self.passes) for one in self.asked]

    def _file(self, model: int, need: Need) -> Path:
        return self.folder / ANSWERS / f"{model}.{need}.jsonl"

    def _held(self, model: int, need: Need) -> dict[int, Row]:
        """What was written, but for a last line that a kill cut short."""
        found: dict[int, Row] = {}
        path = self._file(model, need)
        if path.exists():
            text = path.read_text(encoding="utf-8", errors="replace")
            whole = text[: text.rfind("\n") + 1]
            if whole != text:
                path.write_text(whole, encoding="utf-8")
            for line in whole.splitlines():
                row = json.loads(line)
                found[row.pop("row")] = row
        return found

    def _pass(self, model: int, place: str, need: Need) -> None:
        held = self.held[model, need]
        left = [one for one in self.asked if one.number not in held]
        if not left:
            return
        if self._stopped():
            raise Interrupted
        path = self._file(model, need)
        path.parent.mkdir(exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            for batch in self._batches(model, place, need, left):
                for question, row in batch:
                    held[question.number] = row
                    file.write(json.dumps({"row": question.number} | row, ensure_ascii=False) + "\n")
                    self.tokens += row.get("tokens", row.get("reference_tokens", 0)) or 0
                file.flush()
                os.fsync(file.fileno())
                self.done += len(batch)
                self._progress()

    def _batches(
        self, model: int, place: str, need: Need, left: list[Question]
    ) -> Iterator[list[tuple[Question, Row]]]:
        if need == "reward":
            yield from self._rewards(model, left)
            return
        answerer = self._loaded(place)
        prompts = [one.prompt for one in left]
        if need == "answers" and not self.choices:
            for batch in answerer.answers(prompts, self.params.max_new_tokens, self.params.stop):
                yield [(left[i], row) for i, row in batch]
            return
        given = [_given(one, need) for one in left]
        for judged in answerer.likelihoods(prompts, given):
            yield [(left[i], _judged(left[i], need, found)) for i, found in judged]

    def _rewards(self, model: int, left: list[Question]) -> Iterator[list[tuple[Question, Row]]]:
        from backend.recipes import rewards

        scorer = rewards.scorer(self.params.reward_model, self._chosen())
        answers = self.held[model, "answers"]
        size = self.params.per_device_eval_batch_size
        for begin in range(0, len(left), size):
            if self._stopped():
                raise Interrupted
            part = [one for one in left[begin : begin + size] if "error" not in answers[one.number]]
            said = [_as_asked(one, answers[one.number]["answer"]) for one in part]
            found = scorer([one.prompt for one in part], said, [one.reference for one in part]) if part else []
            by_row = {one.number: {"reward": reward} for one, reward in zip(part, found, strict=True)}
            yield [(one, by_row.get(one.number, {})) for one in left[begin : begin + size]]

    def _chosen(self) -> device.Device:
        if self._device is None:
            say(ev.Logged(text="Loading PyTorch and Transformers …"))
            import torch

            self._device = device.choose(device.find(), self.params.precision)
            torch.set_num_threads(self._device.threads)
            names = {"model": ", ".join(map(name_of, self.params.models)), "dataset": short_name(self.params.dataset)}
            say(ev.Started(step=self.done, info=names | self._device.info()))
            self._progress()
        return self._device

    def _loaded(self, place: str) -> Answerer:
        if self._answerer is None:
            chosen = self._chosen()
            self._answerer = Answerer(place, chosen, self.params.per_device_eval_batch_size, self._stopped)
            self.begun, self.first = time.perf_counter(), self.done
        return self._answerer

    def _stopped(self) -> bool:
        return (self.folder / "stop").exists()

    def _progress(self) -> None:
        now = time.perf_counter()
        if self.done < self.total and now - self.told < _QUIET:
            return
        self.told = now
        spent, made = now - self.begun, self.done - self.first
        eta = round(spent / made * (self.total - self.done), 1) if made else None
        say(ev.Progressed(done=self.done, total=self.total, unit="answers", eta=eta))
        if made and spent:
            say(ev.Measured(step=self.done, values={"rows_per_second": round(made / spent, 3)}))


def _given(question: Question, need: Need) -> list[str]:
    """The texts that a model judges for one question."""
    if need == "answers":
        return list(question.choices)
    return [question.reference, question.rejected] if need == "preference" else [question.reference or " "]


def _judged(question: Question, need: Need, found: list[Row] | Row) -> Row:
    """What a pass of likelihoods tells of a row."""
    import math

    if isinstance(found, dict):
        return found
    if need == "answers":
        logs = [one["log_likelihood"] for one in found]
        best = max(range(len(logs)), key=logs.__getitem__)
        sure = 1 / sum(math.exp(one - logs[best]) for one in logs)
        return {"answer": question.choices[best], "tokens": found[best]["tokens"], "seconds": 0.0,
                "confidence": round(sure, 6), "choices": logs}  # fmt: skip
    row = {"log_likelihood": found[0]["log_likelihood"] if question.reference else None,
           "reference_tokens": found[0]["tokens"], "reference_bytes": found[0]["bytes"]}  # fmt: skip
    return row | ({"rejected_log_likelihood": found[1]["log_likelihood"]} if need == "preference" else {})


def _as_asked(question: Question, answer: str) -> questions.Text:
    """An answer in the form of its prompt: text, or a message."""
    return answer if isinstance(question.prompt, str) else [{"role": "assistant", "content": answer}]


def _keep_table(
    asked: Sequence[Question], answered: Sequence[Sequence[Row]], told: dict[str, Any], folder: Path
) -> None:
    """Every row with what each model said and scored, as Parquet; the scores of rows go there and not into results."""
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
        for column in ("answer", "error", "confidence", "tokens", "seconds", "log_likelihood", "reward"):
            if any(column in row for row in rows):
                table[f"{number}.{column}"] = [row.get(column) for row in rows]
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
