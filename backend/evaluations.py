"""The Lab's window on what was measured: `lab.evaluations`.

    evaluations.every(owner)                   newest first, the pinned ones before all
    evaluations.results(run, owner)            figures, verdicts, slices, confusion
    evaluations.rows(run, owner, …)            rows with all answers side by side, filtered and sorted
    evaluations.rescore(run, metrics, owner)   other metrics on the same answers; asks a model only what is missing
    evaluations.compare(run, owner)            a tuning run beside its base, on two datasets
    evaluations.foretell(params, owner)        how long tasks of the harness will take

Every method raises LabError and nothing else. An evaluation is a run of the recipe `evaluate`; its name and pin are a
note in the run's folder.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from backend import eval_results, figures, foretold
from backend.door import door
from backend.errors import BadInput, NotFound
from backend.jobs import Run
from backend.recipes import METHODS, RECIPES
from backend.recipes.params import check
from backend.store import Store, write

RECIPE, HARNESS = "evaluate", "harness"
RESULTS, TABLE, NOTE = "results.json", "answers.parquet", "note.json"
PAGE = 100
SHOWS = ("all", "regressions", "wins", "disagreements", "longest", "least confident", "failed")
_HELD = 600  # results kept in memory

Launch = Callable[[str, Mapping[str, Any], str, str], Run]
Mine = Callable[[str, str], Run]


class Evaluations:
    """`mine(run, owner)` gives a run that is the owner's, `seen(run, owner)` also one that everybody may look at;
    `launch(recipe, params, owner, target)` starts one."""

    def __init__(self, store: Store, mine: Mine, launch: Launch, seen: Mine | None = None) -> None:
        self._store = store
        self._mine = mine
        self._seen = seen or mine
        self._launch = launch
        self._read: OrderedDict[str, tuple[float, dict[str, Any]]] = OrderedDict()
        self._lock = threading.Lock()

    @door
    def every(self, owner: str, limit: int = 500) -> list[dict[str, Any]]:
        """[{id, name, pinned, created, dataset, models, rows, figures, pairs, settings, about}] of those with results.

        `settings` are the run's params, `about` tells of each model what it took: seconds, memory_gb, dollars.
        """
        runs = [run for recipe in (RECIPE, HARNESS) for run in self._store.runs(owner, limit, recipe=recipe)]
        newest = sorted(runs, key=lambda run: -run.created)[:limit]
        return sorted(filter(None, map(self._line, newest)), key=lambda one: not one["pinned"])

    def _line(self, run: Run) -> dict[str, Any] | None:
        """One of `every`, None where there are no results."""
        note, told = _note(run), self._results(run)
        if told is None or note.get("forgotten"):
            return None
        about = {"id": run.id, "name": note.get("name", ""), "pinned": bool(note.get("pinned"))}
        return (
            about
            | {"created": run.created, "models": [one["name"] for one in told["models"]]}
            | {"settings": run.job.params, "about": told["models"]}
            | {key: told[key] for key in ("dataset", "rows", "figures", "pairs")}
        )

    @door
    def results(self, run_id: str, owner: str) -> dict[str, Any]:
        """What `results.json` holds (see recipes/scoring.py), with id, name and pinned. Raises NotFound, NotYours."""
        run = self.evaluation(run_id, owner, self._seen)
        note = _note(run)
        told = self._results(run)
        if told is None or note.get("forgotten"):
            raise NotFound(f"Run {run.id} has no results.", "Wait until it has finished, or evaluate again.")
        return told | {"id": run.id, "name": note.get("name", ""), "pinned": bool(note.get("pinned"))}

    @door
    def rows(
        self,
        run_id: str,
        owner: str,
        figure: str = "",
        *,
        a: int = 0,
        b: int = -1,
        show: str = "all",
        column: str = "",
        value: str = "",
        reference: str = "",
        answer: str = "",
        query: str = "",
        numbers: Sequence[int] = (),
        offset: int = 0,
        length: int = 10,
    ) -> dict[str, Any]:
        """{total, rows: [{row, prompt, reference, of, answers: [{answer, error, score, confidence, tokens}]}]}.

        `show` is one of SHOWS, judged by `figure` and, for the first three, by models `a` and `b`; worst first.
        `column` and `value` keep a slice, `reference` and `answer` a cell of the confusion matrix, `query` words,
        `numbers` these rows.
        """
        told = self.results(run_id, owner)
        if show not in SHOWS:
            raise BadInput(f"show is {show[:40]!r}; use one of {', '.join(SHOWS)}.", "Choose one.")
        if not (offset >= 0 and 1 <= length <= PAGE):
            raise BadInput(
                f"offset is {offset} and length {length}; use from 0, and 1 to {PAGE}.", "Ask for another page."
            )
        many = len(told["models"])
        a, b = a % many, b % many
        figure = figure or next(iter(one["figure"] for one in told["figures"]), "")
        higher = next((one["higher"] for one in told["figures"] if one["figure"] == figure), True)
        every = table(self.evaluation(run_id, owner, self._seen))
        order = _order(every, figure, a, b, show, higher)
        order = [i for i in order if _within(every, i, column, value, reference, answer, b, query)]
        order = [i for i in order if not numbers or every["row"][i] in set(numbers)]
        page = [_row(every, i, figure, many) for i in order[offset : offset + length]]
        return {"total": len(order), "rows": page}

    @door
    def note(self, run_id: str, owner: str, *, name: str | None = None, pinned: bool | None = None) -> None:
        """Give it a name, pin it."""
        run = self.evaluation(run_id, owner)
        note = _note(run)
        if name is not None:
            note["name"] = " ".join(name.split())[:80]
        if pinned is not None:
            note["pinned"] = pinned
        write(run.folder / NOTE, note)

    @door
    def forget(self, run_id: str, owner: str) -> None:
        """Delete its answers and results. The run itself stays in the list of runs."""
        run = self.evaluation(run_id, owner)
        write(run.folder / NOTE, {"forgotten": True})
        for name in (RESULTS, TABLE):
            (run.folder / name).unlink(missing_ok=True)

    @door
    def export(self, run_id: str, owner: str, path: Path) -> Path:
        """Write it to `path`: figures as .csv or .md, everything as .json, all rows as .parquet."""
        told = self.results(run_id, owner)
        folder = self.evaluation(run_id, owner, self._seen).folder
        if path.suffix == ".parquet":
            path.write_bytes((folder / TABLE).read_bytes())
            return path
        return figures.export(told, path)

    @door
    def board(self, owner: str, dataset: str, path: Path) -> Path:
        """Write all figures on a dataset to `path`, every evaluation's, the newest first: .csv, .md or .json."""
        return figures.board(self.every(owner), dataset, path)

    @door
    def push(self, run_id: str, owner: str, model: int, repo: str, token: str) -> str:
        """Write a model's figures into its repository on the Hub, card and `.eval_results`; gives its address."""
        told = self.results(run_id, owner)
        if not 0 <= model < len(told["models"]):
            raise BadInput(f"model is {model}; there are {len(told['models'])}.", "Choose one of them.")
        return eval_results.push(told, model, repo, token)

    @door
    def judged(self, run_id: str, owner: str) -> list[dict[str, Any]]:
        """What judges said of an evaluation's answers: their `judge.json` with `id`, newest first."""
        found = []
        for run in self._store.runs(owner, 200, recipe="judge"):
            path = run.folder / "judge.json"
            if run.job.params.get("answers", "").removeprefix("run/") == run_id and path.exists():
                found.append(json.loads(path.read_text()) | {"id": run.id})
        return found

    @door
    def rescore(self, run_id: str, metrics: Sequence[str], owner: str) -> Run:
        """A new evaluation with other metrics on the same answers."""
        run = self.evaluation(run_id, owner)
        if run.job.recipe == HARNESS:
            raise BadInput("The harness measures its tasks by their own metrics.", "Run other tasks.")
        return self._launch(
            RECIPE, run.job.params | {"metrics": [*metrics], "answers": f"run/{run.id}"}, owner, run.job.target
        )

    @door
    def compare(self, run_id: str, owner: str, max_rows: int = 0) -> list[Run]:
        """Evaluations of a tuning run beside its base, on rows it did not learn from and on the forgetting suite.

        Rows it did not learn from are the sample's own evaluation set, or what the run itself held out; of each
        `max_rows` are drawn, 0 takes all.
        """
        run = self._mine(run_id, owner)
        if not _answers(run):
            raise NotFound(
                f"Run {run.id} has made no model that answers.", "Wait for it, stop it with Save, or choose another."
            )
        models = [str(run.job.params["model"]), f"run/{run.id}"]
        sample = str(run.job.params.get("dataset", "")).startswith("sample/")
        held_out = {"dataset": "sample/evaluation"} if sample else {"held_out_of": f"run/{run.id}"}
        some: dict[str, Any] = {"max_rows": max_rows, "pick_rows": "random"} if max_rows else {}
        asked = [held_out, {"dataset": "sample/forgetting"}]
        return [self._launch(RECIPE, {"models": models} | one | some, owner, run.job.target) for one in asked]

    @door
    def foretell(self, asked: Mapping[str, Any], owner: str) -> dict[str, Any]:
        """How long tasks of the harness will take: see `backend/foretold.py`. `asked` are params of the recipe."""
        params = _by_file(check(RECIPES[HARNESS].params, dict(asked)).model_dump(mode="json"))
        lines = [
            one | {"settings": _by_file(one["settings"])} for one in self.every(owner) if "tasks" in one["settings"]
        ]
        like = {name: params[name] for name in ("tasks", "task_file", "num_fewshot", "apply_chat_template")}
        return foretold.foretell(lines, params["models"], like, params["limit"] * max(1, len(params["tasks"])))

    @door
    def newest_tuned(self, owner: str) -> str:
        """The owner's newest run with an adapter. Raises NotFound where there is none."""
        for run in self._store.runs(owner, 200):
            if _answers(run):
                return run.id
        raise NotFound("You have tuned no model yet.", "Tune one first; the sample run takes about a minute.")

    def of(self, run_id: str, owner: str) -> list[dict[str, Any]]:
        """Evaluations in which a run took part, or that it is, newest first, as `every` tells them."""
        run = self._seen(run_id, owner)
        runs = [run] if run.job.recipe in (RECIPE, HARNESS) else self.of_any_state(run_id, owner)
        return [*filter(None, map(self._line, runs))]

    def of_any_state(self, run_id: str, owner: str) -> list[Run]:
        """Their runs, those that wait, work or failed included."""
        runs = self._store.runs(owner, 500, recipe=RECIPE)
        return [run for run in runs if any(name.endswith(f"run/{run_id}") for name in run.job.params.get("models", []))]

    def evaluation(self, run_id: str, owner: str, find: Mine | None = None) -> Run:
        """The run of an evaluation. Raises NotFound, NotYours."""
        run = (find or self._mine)(run_id.removeprefix("run/"), owner)
        if run.job.recipe not in (RECIPE, HARNESS):
            raise NotFound(f"Run {run.id} is no evaluation.", "Choose one from the list of evaluations.")
        return run

    def _results(self, run: Run) -> dict[str, Any] | None:
        path = run.folder / RESULTS
        try:
            changed = path.stat().st_mtime
        except FileNotFoundError:
            return None
        with self._lock:
            held = self._read.get(run.id)
        if held and held[0] == changed:
            return held[1]
        told: dict[str, Any] = json.loads(path.read_text())
        with self._lock:
            self._read[run.id] = (changed, told)
            while len(self._read) > _HELD:
                self._read.popitem(last=False)
        return told


def _by_file(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the harness, in which a task file is what it is called: each upload has a place of its own."""
    return {**settings, "task_file": Path(settings["task_file"]).name}


def _answers(run: Run) -> bool:
    """Whether a run tuned a model that answers; a reward model judges."""
    made = any((run.folder / name).exists() for name in ("adapter/adapter_config.json", "model/config.json"))
    return made and run.job.recipe in METHODS and run.job.recipe != "reward"


def _note(run: Run) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((run.folder / NOTE).read_text())
    except FileNotFoundError:
        return {}
    return found


Table = dict[str, list[Any]]


def table(run: Run) -> Table:
    """Every row of an evaluation, by column: row, prompt, reference, of.COLUMN, MODEL.answer, MODEL.score.FIGURE …"""
    from pyarrow import parquet

    found: Table = parquet.read_table(run.folder / TABLE).to_pydict()
    return found


def _order(table: Table, figure: str, a: int, b: int, show: str, higher: bool | None) -> list[int]:
    """Rows in the order in which they are shown."""
    every = range(len(table["row"]))
    none: list[Any] = [None] * len(every)
    answers = {model: table.get(f"{model}.answer", none) for model in (a, b)}
    if show == "failed":
        return [i for i in every if any(table[key][i] for key in table if key.endswith(".error"))]
    if show == "longest":
        return sorted(every, key=lambda i: -len(answers[b][i] or ""))
    if show == "least confident":
        sure = table.get(f"{b}.confidence", none)
        return sorted((i for i in every if sure[i] is not None), key=lambda i: float(sure[i]))
    if show == "disagreements":
        return [i for i in every if answers[a][i] != answers[b][i]]
    if show == "all":
        return [*every]
    scores = [table.get(f"{model}.score.{figure}", none) for model in (a, b)]
    sign = (-1 if higher is False else 1) * (1 if show == "wins" else -1)
    gain = {
        i: sign * (scores[1][i] - scores[0][i]) for i in every if scores[0][i] is not None and scores[1][i] is not None
    }
    return sorted((i for i in gain if gain[i] > 0), key=lambda i: -gain[i])


def _within(table: Table, i: int, column: str, value: str, reference: str, answer: str, model: int, query: str) -> bool:
    if column and str(table.get(f"of.{column}", {i: None})[i]) != value:
        return False
    if reference and _label(table["reference"][i]) != reference:
        return False
    if answer and _label(table.get(f"{model}.answer", {i: ""})[i]) != answer:
        return False
    said = [table["prompt"][i], table["reference"][i], *(table[key][i] for key in table if key.endswith(".answer"))]
    return all(any(word in str(one).lower() for one in said) for word in query.lower().split())


def _label(text: Any) -> str:
    return str(text or "").strip().removesuffix(".").lower()


def _row(table: Table, i: int, figure: str, many: int) -> dict[str, Any]:
    fields = ("answer", "error", "confidence", "tokens", f"score.{figure}")
    answers = [{key: table.get(f"{model}.{key}", {i: None})[i] for key in fields} for model in range(many)]
    for one in answers:
        one["score"] = one.pop(f"score.{figure}")
    of = {key.removeprefix("of."): table[key][i] for key in table if key.startswith("of.")}
    return {key: table[key][i] for key in ("row", "prompt", "reference")} | {"of": of, "answers": answers}
