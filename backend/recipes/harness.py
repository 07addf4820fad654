"""lm-evaluation-harness on our loaded models: its tasks, its prompts, its figures. Runs alone:

    mkdir -p /tmp/h && echo '{"tasks": ["arc_easy"], "limit": 20}' > /tmp/h/params.json
    python -m backend.recipes.harness /tmp/h/params.json

Optional: `pip install lm_eval==0.4.13`. Tasks are named as it names them, or described by YAML files of one's own,
which need no network when their data are here. Figures are its own; where they are means over rows, intervals and
paired tests are ours, and every row can be looked at.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from backend import events as ev
from backend.errors import BadData, BadInput, NotFound
from backend.recipes import device, harness_results, process, scoring
from backend.recipes.answering import Answerer, Interrupted
from backend.recipes.asking import Names, forget_peak, interrupted, name_of
from backend.recipes.callbacks import peak_memory
from backend.recipes.process import say
from backend.recipes.provider import NAME as PROVIDER
from backend.recipes.provider import NO_CHANCES
from backend.settings import Settings
from backend.starter import MODEL_ID

RESULTS, TABLE, WHOLE = "results.json", "answers.parquet", "harness.json"
MOST_MODELS = 8
_QUIET = 0.5  # seconds between two Progressed, at least


class Params(BaseModel):
    """Which tasks, on which models. A field that is left out, empty or None has its default."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, str_strip_whitespace=True)

    models: Names = Field([MODEL_ID], min_length=1, max_length=MOST_MODELS, title="Models", description="As above")
    tasks: Names = Field(
        [], title="Tasks", description="As the harness names them, with commas between; empty takes those of the file"
    )
    task_file: str = Field("", title="Task file", description="A YAML file of your own, or a folder with some")
    num_fewshot: int | None = Field(
        None, ge=0, le=100, title="Few-shot", description="Examples shown; empty: the task's"
    )
    limit: int = Field(0, ge=0, title="Rows of each task", description="0 takes all")
    apply_chat_template: bool = Field(False, title="Chat template", description="Ask as in a chat")
    per_device_eval_batch_size: int = Field(8, ge=1, le=1024, title="Batch size", description="Rows asked at once")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", title="Precision", description="Auto takes bf16 where the hardware has it"
    )
    seed: int = Field(0, ge=0, lt=2**31, title="Seed", description="Of what is drawn for intervals")

    @field_validator("num_fewshot", mode="before")
    @classmethod
    def _empty(cls, value: Any) -> Any:
        return None if value == "" else value


def preflight(params: Params) -> None:
    """Raises BadInput where the harness is not there, or nothing is named."""
    if find_spec("lm_eval") is None:
        raise BadInput(
            "lm-evaluation-harness is not installed here.",
            "pip install lm_eval==0.4.13, then start Atelier again.",
            "harness.missing",
        )
    if not params.tasks and not params.task_file:
        raise BadInput("No task is named.", "Write some, such as arc_easy, or give a YAML file.")
    if params.task_file:
        if Settings.read().public:
            raise BadInput(
                "A task file is a program; a shared server runs none of its visitors'.",
                "Name a task that the harness brings, or run Atelier yourself.",
                "harness.refused",
            )
        if not params.task_file.endswith((".yaml", ".yml")) and not Path(params.task_file).is_dir():
            raise BadInput(f"{Path(params.task_file).name} is no YAML file.", "Its name ends in .yaml.")
    for one in params.models:
        if PROVIDER.fullmatch(one):
            raise BadInput(f"{one} {NO_CHANCES}, and most tasks need them.", "Choose models that run here.")


def run(params: Params, folder: Path) -> None:
    """Ask, measure, and tell of it on standard output. Raises LabError."""
    preflight(params)
    begun = time.perf_counter()
    say(ev.Logged(text="Loading PyTorch and lm-evaluation-harness …"))
    import torch

    chosen = device.choose(device.find(), params.precision)
    torch.set_num_threads(chosen.threads)
    manager, names = _tasks(params)
    models: list[dict[str, Any]] = [{"name": name_of(place), "place": place} for place in params.models]
    about = {"model": ", ".join(one["name"] for one in models), "dataset": ", ".join(names)}
    say(ev.Started(info=about | chosen.info()))
    found = []
    try:
        for number, place in enumerate(params.models):
            found.append(_asked(params, folder, manager, names, place, number, chosen))
            models[number] |= json.loads((folder / f"took-{number}.json").read_text())
    except Interrupted:
        interrupted(folder, "what was answered")
        return
    told = harness_results.tell(found, models, params.seed)
    told |= {"dataset": ", ".join(names), "unasked": [], "at": time.time(), "engine": "lm-evaluation-harness"}
    harness_results.keep(found, told, folder / TABLE)
    (folder / RESULTS).write_text(json.dumps(told, ensure_ascii=False))
    for pair in told["pairs"]:
        both = f"{models[pair['b']]['name']} beside {models[pair['a']]['name']}"
        say(ev.Logged(text=f"{pair['title']}, {both}: {pair['verdict']}"))
    say(ev.Produced(kind="evaluation", name="results", file=RESULTS))
    say(ev.Produced(kind="harness", name="the harness's own results", file=WHOLE))
    values: dict[str, Any] = scoring.flat(told)
    say(ev.Finished(values=values | {"rows": told["rows"], "seconds": round(time.perf_counter() - begun, 1)}))


def _tasks(params: Params) -> tuple[Any, list[str]]:
    """The harness's manager and the names of the tasks. Raises NotFound, BadData."""
    from lm_eval.tasks import TaskManager

    file = Path(params.task_file) if params.task_file else None
    place = file.parent if file and file.is_file() else file
    try:
        manager = TaskManager(include_path=str(place) if place else None, include_defaults=False)
        own = manager.all_tasks
        names = params.tasks or own
        if file and file.is_file() and not params.tasks:
            lines = [line for line in file.read_text(encoding="utf-8").splitlines() if line.startswith("task:")]
            names = [lines[0].partition(":")[2].strip(" '\"")] if lines else own
        if set(names) - set(own):
            manager = TaskManager(include_path=str(place) if place else None, include_defaults=True)
    except Exception as error:  # whatever a file makes its reader raise
        raise BadData(f"{Path(params.task_file).name} can't be read: {str(error)[:300]}", "Correct it.") from None
    if unknown := [name for name in names if not manager.match_tasks([name])]:
        raise NotFound(
            f"The harness has no task {unknown[0][:60]!r}.",
            "See https://github.com/EleutherAI/lm-evaluation-harness/tree/main/lm_eval/tasks for their names.",
            "harness.task",
        )
    if not names:
        raise BadData(f"{Path(params.task_file).name} describes no task.", "A task file has a line `task: NAME`.")
    return manager, names


def _asked(
    params: Params, folder: Path, manager: Any, names: Sequence[str], place: str, number: int, chosen: device.Device
) -> dict[str, Any]:
    """What the harness says of one model: {results, samples, higher_is_better, …}. Raises Interrupted, BadData."""
    from lm_eval import simple_evaluate

    begun = time.perf_counter()
    forget_peak()
    answerer = Answerer(place, chosen, params.per_device_eval_batch_size, lambda: (folder / "stop").exists())
    progress = _Progress(number, len(params.models))
    asking = _model(answerer, params, progress)
    try:
        found = simple_evaluate(
            model=asking,
            tasks=list(names),
            task_manager=manager,
            num_fewshot=params.num_fewshot,
            limit=params.limit or None,
            apply_chat_template=params.apply_chat_template,
            use_cache=str(folder / f"answers-{number}"),  # so that a run that was stopped asks nothing twice
            log_samples=True,
            bootstrap_iters=1000,
        )
    except Interrupted:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        words = f"{type(error).__name__}: {str(error)[:300]}"
        raise BadData(f"The harness can't do {', '.join(names)}: {words}.", "Check the task, and whether its data are "
                      "here or the Hub answers.", "harness.failed") from error  # fmt: skip
    finally:
        _took(folder / f"took-{number}.json", time.perf_counter() - begun, progress.asking)
        answerer.close()
    with (folder / WHOLE).open("a") as file:
        json.dump({key: found[key] for key in ("results", "versions", "n-shot")}, file, default=str)
        file.write("\n")
    return dict(found)


def _took(path: Path, seconds: float, asking: float) -> None:
    """Keep what a model took, with what it took before the run was stopped; `asking` is the part that rows cost."""
    told = json.loads(path.read_text()) if path.exists() else {"seconds": 0.0, "asking": 0.0, "memory_gb": 0.0}
    told = {"seconds": round(told["seconds"] + seconds, 2), "asking": round(told["asking"] + asking, 3),
            "memory_gb": round(max(told["memory_gb"], peak_memory()), 3)}  # fmt: skip
    path.write_text(json.dumps(told))


class _Progress:
    """Tells how many rows were asked, of as many as the harness has named so far."""

    def __init__(self, number: int, models: int) -> None:
        self.number, self.models = number, models
        self.done = self.total = 0
        self.begun, self.told = time.perf_counter(), 0.0
        self.asking = 0.0  # seconds

    @contextmanager
    def more(self, many: int) -> Iterator[None]:
        """While so many are asked."""
        self.total += many
        begun = time.perf_counter()
        try:
            yield
        finally:
            self.asking += time.perf_counter() - begun

    def add(self, many: int) -> None:
        self.done = min(self.total, self.done + many)
        now = time.perf_counter()
        if now - self.told < _QUIET or not self.total:
            return
        self.told = now
        rest = self.models * self.total - (self.number * self.total + self.done)
        eta = (now - self.begun) / max(1, self.done) * rest
        done = self.number * self.total + self.done
        say(ev.Progressed(done=done, total=self.models * self.total, unit="requests", eta=round(eta, 1)))


def _model(answerer: Answerer, params: Params, progress: _Progress) -> Any:
    """The harness's own Hugging Face model around ours, which stops when asked to and tells how far it is."""
    from lm_eval.models.huggingface import HFLM

    class Ours(HFLM):
        def loglikelihood(self, requests: list[Any], *more: Any, **named: Any) -> Any:
            with progress.more(len(requests)):
                return super().loglikelihood(requests, *more, **named)

        def generate_until(self, requests: list[Any], *more: Any, **named: Any) -> Any:
            with progress.more(len(requests)):
                return super().generate_until(requests, *more, **named)

        def _model_call(self, inps: Any, *more: Any, **named: Any) -> Any:
            return _counted(super()._model_call, inps, *more, **named)

        def _model_generate(self, context: Any, *more: Any, **named: Any) -> Any:
            return _counted(super()._model_generate, context, *more, **named)

    def _counted(call: Callable[..., Any], given: Any, *more: Any, **named: Any) -> Any:
        if answerer.stopped():
            raise Interrupted
        made = call(given, *more, **named)
        progress.add(len(given))
        return made

    return Ours(
        pretrained=answerer.model, tokenizer=answerer.tokenizer, batch_size=params.per_device_eval_batch_size,
        device=str(answerer.device),
    )  # fmt: skip


_CODE = """from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

found = simple_evaluate(
    model="hf",
    model_args={{"pretrained": {model!r}{peft}}},
    tasks={tasks!r},
    task_manager=TaskManager({include}),
    num_fewshot={shots!r},
    limit={limit!r},
    apply_chat_template={chat!r},
    batch_size={batch!r},
)
for task, figures in found["results"].items():
    print(task, figures)
"""


def code(params: Params) -> str:
    """Python that asks the first model the same, by the harness itself."""
    model, _, adapter = params.models[0].partition(" + ")
    file = Path(params.task_file) if params.task_file else None
    return _CODE.format(
        model=model, peft=f', "peft": {adapter!r}' if adapter else "",
        tasks=params.tasks or [file.stem if file else ""],
        include=f"include_path={file.parent.name!r}" if file else "", shots=params.num_fewshot,
        limit=params.limit or None, chat=params.apply_chat_template, batch=params.per_device_eval_batch_size,
    )  # fmt: skip


if __name__ == "__main__":
    process.leave(process.main(Params, run))
