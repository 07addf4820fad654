"""lm-evaluation-harness on our models: local tasks without a network, rows, resuming, the same figures as its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backend import events as ev
from backend.errors import BadInput, NotFound
from backend.recipes import harness, process
from backend.recipes.params import check
from backend.starter import MODEL_ID
from tests.tiny import tiny_model

CHOICE = """task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list: [{{metric: acc}}, {{metric: acc_norm}}]
"""
OPEN = """task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
output_type: generate_until
test_split: test
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{choices[answer]}}}}"
generation_kwargs: {{until: ["\\n"], max_gen_toks: 8, do_sample: false}}
metric_list: [{{metric: exact_match}}]
"""
QUESTIONS = ("The sky is", "Snow is", "Grass is", "Coal is", "Blood is", "A lemon is")
COLOURS = ("blue", "white", "green", "black", "red", "yellow")


def tasks(folder: Path, rows: list[dict[str, Any]] | None = None) -> Path:
    """A folder with two task files over the same rows."""
    folder.mkdir()
    rows = rows or [{"question": one, "choices": list(COLOURS), "answer": n} for n, one in enumerate(QUESTIONS)]
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, text in (("atelier_colours", CHOICE), ("atelier_said", OPEN)):
        (folder / f"{name}.yaml").write_text(text.format(name=name, data=data))
    return folder


def ran(capsys: Any, folder: Path, **values: Any) -> tuple[list[ev.Event], dict[str, Any]]:
    folder.mkdir(exist_ok=True)
    (folder / "params.json").write_text(json.dumps(values))
    process.main(harness.Params, harness.run, [str(folder / "params.json")])
    lines = capsys.readouterr().out.splitlines()
    results = folder / harness.RESULTS
    told = json.loads(results.read_text()) if results.exists() else {}
    return [ev.parse(line) for line in lines if line.startswith(ev.MARK)], told


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_model(tmp_path_factory.mktemp("tiny")))


def test_local_tasks_of_two_models(capsys: Any, tmp_path: Path, tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    place = tasks(tmp_path / "tasks")
    events, told = ran(capsys, tmp_path / "run", models=[tiny, f"{tiny}/."], task_file=str(place))
    assert isinstance(events[-1], ev.Finished), events[-1]
    assert told["dataset"] == "atelier_colours, atelier_said"
    assert {one["figure"] for one in told["figures"]} == {
        "atelier_colours acc", "atelier_colours acc_norm", "atelier_said exact_match",
    }  # fmt: skip
    assert told["rows"] == 12
    assert all(one["low"] <= one["value"] <= one["high"] and one["n"] == 6 for one in told["figures"])
    assert {pair["verdict"] for pair in told["pairs"]} == {"The same on every row, n = 6."}
    from pyarrow import parquet

    table = parquet.read_table(tmp_path / "run" / harness.TABLE).to_pydict()
    assert table["prompt"][0] == "The sky is"
    assert table["of.task"] == ["atelier_colours"] * 6 + ["atelier_said"] * 6
    assert table["reference"][:6] == list(COLOURS)
    assert set(table["0.answer"][:6]) <= set(COLOURS)
    right = [float(said == wanted) for said, wanted in zip(table["0.answer"][:6], table["reference"][:6], strict=True)]
    assert right == table["0.score.atelier_colours acc"][:6]
    assert any(isinstance(event, ev.Progressed) for event in events)

    def never(*_: Any) -> None:
        raise AssertionError("it was asked again")

    from lm_eval.models.huggingface import HFLM

    (tmp_path / "run" / harness.RESULTS).unlink()
    monkeypatch.setattr(HFLM, "_model_generate", never)
    monkeypatch.setattr(HFLM, "_model_call", never)
    events, again = ran(capsys, tmp_path / "run", models=[tiny, f"{tiny}/."], task_file=str(place))
    assert isinstance(events[-1], ev.Finished), events[-1]
    assert again["figures"] == told["figures"]


def test_one_file_is_one_task_and_stop_pauses(capsys: Any, tmp_path: Path, tiny: str) -> None:
    place = tasks(tmp_path / "tasks")
    _, told = ran(capsys, tmp_path / "run", models=[tiny], task_file=str(place / "atelier_colours.yaml"), limit=3)
    assert (told["dataset"], told["rows"]) == ("atelier_colours", 3)
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    (stopped / "stop").write_text("save")
    events, told = ran(capsys, stopped, models=[tiny], task_file=str(place))
    assert isinstance(events[-1], ev.Paused)
    assert told == {}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "No task is named"),
        ({"task_file": "a.json"}, "a.json is no YAML file"),
        ({"tasks": "x", "models": ["a/b:fast"]}, "runs at a provider"),
    ],
)
def test_what_can_not_be_run_is_said_before(values: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        harness.preflight(check(harness.Params, values))


def test_a_shared_server_runs_nobodys_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPACE_ID", "a/b")
    with pytest.raises(BadInput, match="A task file is a program"):
        harness.preflight(check(harness.Params, {"task_file": "a.yaml"}))


def test_without_the_harness_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match="is not installed here") as told:
        harness.preflight(check(harness.Params, {"tasks": "arc_easy"}))
    assert "pip install lm_eval" in told.value.hint


def test_an_unknown_task_and_a_file_without_one(tmp_path: Path) -> None:
    place = tasks(tmp_path / "tasks")
    with pytest.raises(NotFound, match="no task 'nonsense_of_ours'"):
        harness._tasks(check(harness.Params, {"tasks": "nonsense_of_ours", "task_file": str(place)}))


@pytest.mark.long
def test_figures_are_those_of_its_own_command_line(capsys: Any, tmp_path: Path, starter: Path) -> None:
    from tests.bench.evaluate import rows

    place = tasks(tmp_path / "tasks", rows()[1][:48])
    values = {"task_file": str(place), "precision": "fp32", "num_fewshot": 0, "per_device_eval_batch_size": 4}
    events, told = ran(capsys, tmp_path / "run", models=[MODEL_ID], **values)
    assert isinstance(events[-1], ev.Finished), events[-1]
    command = [
        sys.executable, "-m", "lm_eval", "run", "--model", "hf",
        "--model_args", f"pretrained={starter},dtype=float32", "--tasks", "atelier_colours,atelier_said",
        "--include_path", str(place), "--num_fewshot", "0", "--batch_size", "4", "--device", "cpu",
        "--output_path", str(tmp_path / "theirs"),
    ]  # fmt: skip
    done = subprocess.run(command, env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True)
    files = list((tmp_path / "theirs").rglob("results*.json"))
    assert files, done.stderr[-2000:]
    theirs = json.loads(files[0].read_text())["results"]
    ours = {one["figure"]: one["value"] for one in told["figures"]}
    assert ours == pytest.approx(
        {
            f"{task} {key.partition(',')[0]}": value
            for task, figures in theirs.items()
            for key, value in figures.items()
            if "," in key and "stderr" not in key
        }
    )
    assert 0.5 < ours["atelier_colours acc"] < 1
