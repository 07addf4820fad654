"""What a run learned, measured beside its base, and what an evaluation found, in the open on the run's own page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backend.lab import Lab
from backend.recipes import METHODS
from ui import evaluate_views as drawn
from ui import views

Told = Mapping[str, Any]
TITLES = {"sample/evaluation": "On questions it did not learn from", "sample/forgetting": "What it may have forgotten"}
HELD_OUT = "rows held out of"
EVALUATIONS = ("evaluate", "harness")
PRESSES = """element.addEventListener("click", event => {
  const button = event.target.closest("button[data-beside], button[data-look]");
  if (!button || button.disabled) return;
  if (button.dataset.look) trigger("look", {run: button.dataset.look});
  else { button.disabled = true; trigger("beside", {rows: button.dataset.beside}); }
});"""


def follows(lab: Lab, status: Told, who: str) -> dict[str, Any]:
    """{results, going, promised, can}: evaluations with results and without, the newest on each dataset; whether the
    run will be measured by itself, and whether it can be now. Results alone for what has trained nothing.
    """
    run_id, itself = status["id"], status["recipe"] in EVALUATIONS
    told: dict[str, Any] = {"results": [], "going": [], "promised": False, "can": False}
    if not itself and not (status["yours"] and status["recipe"] in METHODS):
        return told
    if itself or status["state"] in views.LIVING:  # what lives has no results yet, and is asked about every second
        promised = not itself and lab.sequel.promised(run_id)
        ended = itself and status["state"] == "finished"
        return told | {"results": lab.evaluations.of(run_id, who) if ended else [], "promised": promised}
    results = {one["id"]: one for one in lab.evaluations.of(run_id, who)}
    seen: set[str] = set()
    for run in lab.evaluations.of_any_state(run_id, who):
        data = _data(run.job.params)
        if data in seen:
            continue
        state = lab.status(run.id, who)
        if run.id in results:
            told["results"].append(results[run.id])
        elif state["state"] in (*views.LIVING, "failed"):
            told["going"].append(state)
        else:
            continue
        seen.add(data)
    made = {row["kind"] for row in status["artifacts"]} & {"adapter", "model"}
    can = bool(made) and status["recipe"] != "reward" and not told["going"]
    return told | {"promised": lab.sequel.promised(run_id), "can": can}


def watched(told: Told, status: Told) -> bool:
    """Whether what it tells will change by itself."""
    due = told["promised"] and status["state"] == "finished"
    return due or any(one["state"] in views.LIVING for one in told["going"])


def page(told: Told, status: Told, rows: int, looks: bool = True) -> str:
    """Results with their verdicts, what is being measured, or the press that begins it; '' where nothing is to say.

    `rows` of each dataset are measured first; `looks` tells whether there is a tab for their answers.
    """
    parts = [_result(one, looks) for one in sorted(told["results"], key=_order)]
    parts += [_going(one) for one in told["going"]]
    if told["promised"]:
        parts.append('<p class="quiet">It is measured beside its base by itself, once it has finished.</p>')
    elif told["can"]:
        parts.append(_offer(told["results"], rows))
    if not parts:
        return ""
    title = "What was found" if status["recipe"] in EVALUATIONS else "Is it better than its base?"
    return f'<section class="beside-base"><h3>{title}</h3>{"".join(parts)}</section>'


def _order(one: Told) -> int:
    """What was learned stands before what was forgotten."""
    return int(one["dataset"] == "sample/forgetting")


def _titled(name: str) -> str:
    if name.startswith(HELD_OUT):
        return "On rows it did not learn from"
    return TITLES.get(name, f"On {name}")


def _result(one: Told, looks: bool) -> str:
    """The verdict in words first, then all figures."""
    told = as_told(one)
    pair = next((pair for pair in told["pairs"] if (pair["a"], pair["b"]) == (0, len(told["models"]) - 1)), None)
    said = f'<p class="lead">{lead(told, pair)}</p>' if pair else ""
    what = f"{views.text(one['dataset'])} · {views.plural(one['rows'], 'row')} · {views.when(one['created'])}"
    look = f'<button class="fix" data-look="{one["id"]}">Read the answers</button>' if looks else ""
    head = f'<h4>{views.text(_titled(one["dataset"]))}</h4><p class="quiet">{what}</p>'
    return f"<article><header><div>{head}</div>{look}</header>{said}{drawn.summary(told)}</article>"


def lead(told: Told, pair: Told) -> str:
    """`Exact match 3.1 % → 71.9 %. Better, by 68.8 points [57.8, 79.7], n = 64.`"""
    mine = {one["model"]: one for one in told["figures"] if one["figure"] == pair["figure"]}
    way = " → ".join(drawn.amount(mine[model]) for model in (pair["a"], pair["b"]))
    verdict = f'<b class="verdict {drawn.tone(pair)}">{views.text(pair["verdict"])}</b>'
    return f"{views.text(pair['title'])} {way}. {verdict}"


def _going(status: Told) -> str:
    """One that waits, works or failed."""
    return f"<article><h4>{views.text(_titled(_data(status['params'])))}</h4>{drawn.progress(status)}</article>"


def _data(params: Told) -> str:
    """What an evaluation measures on, as its results call it."""
    return f"{HELD_OUT} {params['held_out_of']}" if params.get("held_out_of") else str(params.get("dataset", ""))


def _offer(results: Sequence[Told], rows: int) -> str:
    """The press that begins it; once some rows were measured, all of them are offered."""
    if not results:
        words = f"On questions it did not learn from and on what it may have forgotten, {rows} of each: some minutes."
        return _press("some", "Compare with base", words)
    if any(one["settings"].get("max_rows") for one in results):
        return _press("all", "Measure all rows", "It takes longer, and the intervals get narrower.")
    return ""


def _press(rows: str, title: str, words: str) -> str:
    return f'<p><button class="fix" data-beside="{rows}">{title}</button> <span class="quiet">{words}</span></p>'


def as_told(one: Told) -> dict[str, Any]:
    """A line of the history as `evaluate_views.summary` takes it."""
    return {**one, "models": [{**known, "name": name} for name, known in zip(one["models"], one["about"], strict=True)]}
