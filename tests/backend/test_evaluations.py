"""The window on what was measured: whose it is, rows with filters, names and pins, export, comparing a tuned run."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from backend.engines.client import EngineProcess
from backend.errors import BadInput, NotFound, NotYours
from backend.jobs import Job, Run
from backend.lab import Lab
from backend.recipes import evaluate, questions, scoring
from backend.recipes.questions import Question
from backend.settings import Settings
from backend.starter import MODEL_ID
from backend.store import Store
from backend.targets.fake import Fake

WANTED = ["Paris", "Rome", "Oslo", "Bern", "Oslo", "Rome"]
BASE = ["It is Paris.", "Rome", "Oslo", "Geneva is the one", "oslo", "?"]
TUNED = ["Paris", "Rome", "Bergen", "Bern", "Oslo", "??"]


@pytest.fixture
def lab(home: Path) -> Lab:
    return Lab(Settings.read({"ATELIER_HOME": str(home)}), Store(home), (Fake(),), EngineProcess(env={}))


def measured(lab: Lab, owner: str = "ann", **params: Any) -> Run:
    """An evaluation with results, as its process leaves them."""
    run = lab.store.add(Job("evaluate", {"models": [MODEL_ID, "run/ab12"]} | params, "fake", owner), {})
    asked = [
        Question(n, [{"role": "user", "content": f"Capital {n}?"}], one, more={"part": "ab"[n % 2]})
        for n, one in enumerate(WANTED, 1)
    ]
    answered = [
        [{"answer": one, "tokens": 3, "seconds": 0.1, "confidence": 0.1 * n} for n, one in enumerate(said, 1)]
        for said in (BASE, TUNED)
    ]
    answered[1][5] = {"error": "broke"}
    models = [{"name": "base", "place": "a"}, {"name": "run/ab12", "place": "b"}]
    told = scoring.score(["exact_match", "contains"], asked, answered, models)
    told |= {"dataset": "sample/evaluation", "unasked": [], "at": 1.0}
    questions.keep(questions.Asked(asked, []), run.folder)
    evaluate._keep_table(asked, answered, told, run.folder)
    (run.folder / "results.json").write_text(json.dumps(told))
    return run


def rows(lab: Lab, run: Run, **how: Any) -> list[int]:
    return [row["row"] for row in lab.evaluations.rows(run.id, "ann", "exact_match", **how)["rows"]]


def test_rows_by_what_is_asked(lab: Lab) -> None:
    run = measured(lab)
    assert rows(lab, run) == [1, 2, 3, 4, 5, 6]
    assert rows(lab, run, show="regressions") == [3]
    assert rows(lab, run, show="wins") == [1, 4, 5]
    assert rows(lab, run, show="disagreements") == [1, 3, 4, 5, 6]
    assert rows(lab, run, show="failed") == [6]
    assert rows(lab, run, show="longest", b=0)[0] == 4
    assert rows(lab, run, show="least confident") == [1, 2, 3, 4, 5]
    assert rows(lab, run, column="part", value="a") == [2, 4, 6]
    assert rows(lab, run, query="geneva") == [4]
    assert rows(lab, run, reference="oslo", answer="bergen", b=1) == [3]
    assert rows(lab, run, offset=4, length=1) == [5]
    (first,) = lab.evaluations.rows(run.id, "ann", "exact_match", length=1)["rows"]
    assert first["prompt"] == "Capital 1?"
    assert first["of"] == {"part": "b"}
    assert [(one["answer"], one["score"]) for one in first["answers"]] == [("It is Paris.", 0.0), ("Paris", 1.0)]
    with pytest.raises(BadInput, match="show is 'best'"):
        rows(lab, run, show="best")
    with pytest.raises(BadInput, match="length 0"):
        rows(lab, run, length=0)


def test_history_names_pins_and_forgetting(lab: Lab) -> None:
    first, second = measured(lab), measured(lab)
    assert [one["id"] for one in lab.evaluations.every("ann")] == [second.id, first.id]
    lab.evaluations.note(first.id, "ann", name="  my   first ")
    lab.evaluations.note(first.id, "ann", pinned=True)
    assert [(one["id"], one["name"], one["pinned"]) for one in lab.evaluations.every("ann")] == [
        (first.id, "my first", True),
        (second.id, "", False),
    ]
    assert lab.evaluations.every("bob") == []
    lab.evaluations.forget(first.id, "ann")
    assert [one["id"] for one in lab.evaluations.every("ann")] == [second.id]
    with pytest.raises(NotFound, match="has no results"):
        lab.evaluations.results(first.id, "ann")


@pytest.mark.parametrize("ask", ["results", "rows", "note", "forget"])
def test_somebody_elses(lab: Lab, ask: str) -> None:
    run = measured(lab)
    with pytest.raises(NotYours):
        getattr(lab.evaluations, ask)(run.id, "bob")
    trained = lab.store.add(Job("sft", {"model": MODEL_ID}, "fake", "ann"), {})
    with pytest.raises(NotFound, match="is no evaluation"):
        getattr(lab.evaluations, ask)(trained.id, "ann")


def test_export(lab: Lab, tmp_path: Path) -> None:
    run = measured(lab)
    table = lab.evaluations.export(run.id, "ann", tmp_path / "figures.csv").read_text()
    lines = list(csv.DictReader(table.splitlines()))
    assert [(one["model"], one["figure"], one["n"]) for one in lines[:2]] == [
        ("base", "exact_match", "6"),
        ("run/ab12", "exact_match", "5"),
    ]
    text = lab.evaluations.export(run.id, "ann", tmp_path / "figures.md").read_text()
    assert "| Exact match | 33.33 % [" in text
    assert "run/ab12 beside base: Can't tell" in text
    whole = json.loads(lab.evaluations.export(run.id, "ann", tmp_path / "all.json").read_text())
    assert whole["id"] == run.id
    assert lab.evaluations.export(run.id, "ann", tmp_path / "rows.parquet").stat().st_size > 500
    with pytest.raises(BadInput, match=r"\.png is no form"):
        lab.evaluations.export(run.id, "ann", tmp_path / "a.png")


def test_other_metrics_take_the_answers_over(lab: Lab) -> None:
    run = measured(lab, models=[MODEL_ID])
    again = lab.evaluations.rescore(run.id, ["chrf"], "ann")
    assert again.job.recipe == "evaluate"
    assert again.job.params["metrics"] == ["chrf"]
    params = json.loads((again.folder / "params.json").read_text())
    assert params["answers"] == str(run.folder)


def test_a_tuned_run_beside_its_base(lab: Lab) -> None:
    tuned = lab.store.add(Job("sft", {"model": MODEL_ID, "dataset": "sample/instructions"}, "fake", "ann"), {})
    with pytest.raises(NotFound, match="made no model that answers"):
        lab.evaluations.compare(tuned.id, "ann")
    with pytest.raises(NotFound, match="tuned no model yet"):
        lab.evaluations.newest_tuned("ann")
    (tuned.folder / "adapter").mkdir()
    (tuned.folder / "adapter" / "adapter_config.json").write_text("{}")
    assert lab.evaluations.newest_tuned("ann") == tuned.id
    asked = [run.job.params for run in lab.evaluations.compare(tuned.id, "ann")]
    assert [one["dataset"] for one in asked] == ["sample/evaluation", "sample/forgetting"]
    assert [one["models"] for one in asked] == [[MODEL_ID, f"run/{tuned.id}"]] * 2
    assert lab.evaluations.of(tuned.id, "ann") == []  # none has finished
    with pytest.raises(NotYours):
        lab.evaluations.compare(tuned.id, "bob")


def test_a_public_one_is_looked_at_and_nothing_else(lab: Lab, tmp_path: Path) -> None:
    run = measured(lab)
    with pytest.raises(NotYours):
        lab.evaluations.results(run.id, "bob")
    lab.sharing.publish(run.id, "ann")
    assert lab.evaluations.results(run.id, "bob")["rows"] == 6
    assert lab.evaluations.rows(run.id, "bob")["total"] == 6
    assert lab.evaluations.export(run.id, "bob", tmp_path / "a.csv").exists()
    for act in (lambda: lab.evaluations.note(run.id, "bob", name="x"), lambda: lab.evaluations.forget(run.id, "bob"),
                lambda: lab.evaluations.rescore(run.id, ["chrf"], "bob"),
                lambda: lab.arena.next(run.id, "bob")):  # fmt: skip
        with pytest.raises(NotYours):
            act()
    assert lab.evaluations.every("bob") == []


def test_all_on_a_dataset_are_taken_away(lab: Lab, tmp_path: Path) -> None:
    run = measured(lab)
    text = lab.evaluations.board("ann", "sample/evaluation", tmp_path / "a.csv").read_text()
    rows = list(csv.DictReader(text.splitlines()))
    assert {(row["evaluation"], row["model"]) for row in rows} == {(run.id, "base"), (run.id, "run/ab12")}
    text = lab.evaluations.board("ann", "sample/evaluation", tmp_path / "a.md").read_text()
    assert text.startswith("# sample/evaluation")
    told = json.loads(lab.evaluations.board("ann", "sample/evaluation", tmp_path / "a.json").read_text())
    assert len(told["figures"]) == len(rows) == 4
    with pytest.raises(BadInput, match=r"\.png is no form"):
        lab.evaluations.board("ann", "sample/evaluation", tmp_path / "a.png")


def test_what_judges_said_of_it(lab: Lab) -> None:
    run = measured(lab)
    judge = lab.store.add(Job("judge", {"answers": f"run/{run.id}"}, "fake", "ann"), {})
    assert lab.evaluations.judged(run.id, "ann") == []
    (judge.folder / "judge.json").write_text('{"n": 3}')
    assert lab.evaluations.judged(run.id, "ann") == [{"n": 3, "id": judge.id}]
    assert lab.evaluations.judged(run.id, "bob") == []


def test_five_hundred_are_listed_quickly(lab: Lab) -> None:
    import time

    results = (measured(lab).folder / "results.json").read_text()
    for _ in range(499):
        run = lab.store.add(Job("evaluate", {"models": [MODEL_ID]}, "fake", "ann"), {})
        (run.folder / "results.json").write_text(results)
    start = time.perf_counter()
    assert len(lab.evaluations.every("ann", 500)) == 500
    assert time.perf_counter() - start < 3  # `make bench` holds 0.3 s on a quiet machine
