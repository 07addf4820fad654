"""An evaluation from its params to its figures: stop, resume, another metric on the same answers, wrong wishes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backend import events as ev
from backend.errors import BadData, BadInput
from backend.recipes import RECIPES, asking, evaluate, process
from backend.recipes.params import check
from tests.tiny import tiny_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_model(tmp_path_factory.mktemp("tiny")))


def asked(**values: Any) -> evaluate.EvaluateParams:
    return check(evaluate.Params, {"max_new_tokens": 4} | values)


def ran(capsys: pytest.CaptureFixture[str], folder: Path, **values: Any) -> tuple[list[ev.Event], dict[str, Any]]:
    """Run it as its process does; the events, and what results.json holds."""
    folder.mkdir(exist_ok=True)
    (folder / "params.json").write_text(json.dumps({"max_new_tokens": 4} | values))
    process.main(evaluate.Params, evaluate.run, [str(folder / "params.json")])
    events = [ev.parse(line) for line in capsys.readouterr().out.splitlines() if line.startswith(ev.MARK)]
    results = folder / evaluate.RESULTS
    return events, json.loads(results.read_text()) if results.exists() else {}


def test_two_models_beside_one_another(capsys, tmp_path: Path, tiny: str) -> None:
    events, told = ran(capsys, tmp_path / "run", models=[tiny, f"{tiny}/."], dataset="sample/evaluation", max_rows=12)
    assert isinstance(events[-1], ev.Finished), events[-1]
    assert told["rows"] == 12
    assert told["metrics"] == ["exact_match", "contains", "token_f1"]
    assert {(one["figure"], one["model"]) for one in told["figures"]} == {
        (figure, model) for figure in told["metrics"] for model in (0, 1)
    }
    assert all(one["low"] <= one["value"] <= one["high"] for one in told["figures"])
    assert {pair["verdict"] for pair in told["pairs"]} == {"The same on every row, n = 12."}  # it is the same model
    assert {event.kind for event in events if isinstance(event, ev.Produced)} == {"answers", "evaluation"}
    from pyarrow import parquet

    table = parquet.read_table(tmp_path / "run" / evaluate.TABLE).to_pydict()
    assert len(table["prompt"]) == 12
    assert table["0.answer"] == table["1.answer"]
    assert {"0.score.exact_match", "1.score.token_f1", "of.topic"} <= set(table)


def test_a_run_that_was_stopped_asks_nothing_twice(capsys, tmp_path: Path, tiny: str, monkeypatch) -> None:
    folder = tmp_path / "run"
    settings = {"models": [tiny], "max_rows": 8, "per_device_eval_batch_size": 2, "metrics": "exact_match"}
    whole, _ = ran(capsys, tmp_path / "whole", **settings)
    stopping = {"after": 2}
    real = asking.Work._progress

    def stop_soon(self: Any) -> None:
        stopping["after"] -= 1
        if not stopping["after"]:
            (folder / "stop").write_text("save")
        real(self)

    with monkeypatch.context() as patch:
        patch.setattr(asking.Work, "_progress", stop_soon)
        events, _ = ran(capsys, folder, **settings)
    assert isinstance(events[-1], ev.Paused)
    file = folder / "answers" / "0.answers.jsonl"
    before = file.read_text()
    assert 0 < len(before.splitlines()) < 8
    (folder / "stop").unlink()
    file.write_text(before + '{"row": 99, "ans')  # a kill in mid-line
    events, _ = ran(capsys, folder, **settings)
    assert isinstance(events[-1], ev.Finished)
    assert file.read_text().startswith(before)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert sorted(row["row"] for row in rows) == list(range(1, 9))
    first = tmp_path / "whole" / "answers" / "0.answers.jsonl"
    wanted = {row["row"]: row["answer"] for row in map(json.loads, first.read_text().splitlines())}
    assert {row["row"]: row["answer"] for row in rows} == wanted
    again, _ = ran(capsys, folder, **settings)
    assert again[-1].reason == "had finished already"
    assert again[-1].values["exact_match"] == whole[-1].values["exact_match"]


def test_another_metric_asks_no_model(capsys, tmp_path: Path, tiny: str, monkeypatch) -> None:
    ran(capsys, tmp_path / "first", models=[tiny], max_rows=6)

    def never(*_: Any) -> None:
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(asking, "Answerer", never)
    events, told = ran(
        capsys, tmp_path / "second", models=[tiny], max_rows=6, metrics="chrf, length", answers=str(tmp_path / "first")
    )
    assert isinstance(events[-1], ev.Finished), events[-1]
    assert told["metrics"] == ["chrf", "length"]
    assert events[-1].values["length"] > 0


def test_several_seeds_and_what_it_took(capsys, tmp_path: Path, tiny: str) -> None:
    settings: dict[str, Any] = {"models": [tiny], "max_rows": 6, "metrics": "chrf, length"}
    settings |= {"temperature": 1.0, "seeds": 3}
    events, told = ran(capsys, tmp_path / "run", **settings)
    assert isinstance(events[-1], ev.Finished), events[-1]
    chrf = told["figures"][0]
    assert len(set(chrf["seeds"])) > 1
    assert min(chrf["seeds"]) <= chrf["value"] <= max(chrf["seeds"])
    assert chrf["n"] == 6
    assert sorted(path.name for path in (tmp_path / "run" / "answers").iterdir()) == [
        "0.answers.1.jsonl", "0.answers.2.jsonl", "0.answers.jsonl", "0.json",
    ]  # fmt: skip
    assert told["models"][0]["memory_gb"] > 0
    assert told["models"][0]["seconds"] > 0
    from pyarrow import parquet

    table = parquet.read_table(tmp_path / "run" / evaluate.TABLE).to_pydict()
    assert {"0.said2", "0.said3"} <= set(table)
    with pytest.raises(BadInput, match="Seeds is 3 and temperature 0, at which every answer would be the same"):
        asked(seeds=3)


def test_some_rows_are_drawn_from_all(capsys, tmp_path: Path, tiny: str) -> None:
    _, told = ran(
        capsys, tmp_path / "run", models=[tiny], dataset="sample/forgetting", max_rows=16, pick_rows="random",
        metrics="length",
    )  # fmt: skip
    assert told["rows"] == 16
    assert len({one["slice"] for one in told["slices"] if one["column"] == "topic"}) >= 3  # the first 52 are of one


def test_prompts_without_references_have_their_length_measured(capsys, tmp_path: Path, tiny: str) -> None:
    data = tmp_path / "prompts.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"say {n}"}) + "\n" for n in range(3)))
    _, told = ran(capsys, tmp_path / "run", models=[tiny], dataset=str(data))
    assert told["metrics"] == ["length"]


def test_one_row_and_one_class_support_no_claim(capsys, tmp_path: Path, tiny: str) -> None:
    data = tmp_path / "one.jsonl"
    data.write_text('{"prompt": "a", "completion": "b"}\n')
    _, told = ran(capsys, tmp_path / "run", models=[tiny, f"{tiny}/."], dataset=str(data), metrics="accuracy, mcc")
    assert {pair["verdict"] for pair in told["pairs"]} == {"Can't tell from 1 row."}
    assert {one["low"] for one in told["figures"]} == {None}
    data.write_text('{"prompt": "a", "completion": 1}\n' * 4)
    _, told = ran(capsys, tmp_path / "same", models=[tiny], dataset=str(data), metrics="accuracy, mcc, f1")
    assert {one["figure"]: one["value"] for one in told["figures"]}["mcc"] == 0
    assert told["confusion"] == []


def test_every_need_of_a_metric(capsys, tmp_path: Path, tiny: str) -> None:
    _, told = ran(
        capsys, tmp_path / "a", models=[tiny], max_rows=4, dataset="sample/preferences",
        metrics=["preference_accuracy", "perplexity", "bits_per_byte", "speed", "latency", "length", "calibration"],
    )  # fmt: skip
    assert {one["figure"] for one in told["figures"]} == set(told["metrics"])
    assert all(one["value"] is not None for one in told["figures"])


def test_choices_are_judged(capsys, tmp_path: Path, tiny: str) -> None:
    rows = [
        {"question": f"{n}?", "choices": ["no", "yes", "maybe"], "answer": n % 3, "kind": "ab"[n % 2]} for n in range(9)
    ]
    data = tmp_path / "choices.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    _, told = ran(capsys, tmp_path / "run", models=[tiny], dataset=str(data), metrics="accuracy, f1, mcc, calibration")
    assert {one["figure"] for one in told["figures"]} == {"accuracy", "f1_macro", "f1_weighted", "mcc", "calibration"}
    assert {one["slice"] for one in told["slices"] if one["column"] == "kind"} == {"a", "b"}
    (matrix,) = told["confusion"]
    assert (matrix["labels"], sum(map(sum, matrix["counts"]))) == (["maybe", "no", "yes"], 9)


def test_rows_that_fail_are_reported_and_the_rest_scored(capsys, tmp_path: Path, tiny: str) -> None:
    rows = [
        {"prompt": "a", "completion": "b"},
        {"prompt": "x" * 600, "completion": "b"},
        {"prompt": "", "completion": "b"},
    ]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    events, told = ran(capsys, tmp_path / "run", models=[tiny], dataset=str(data), metrics="exact_match")
    assert [(row["row"], row["model"]) for row in told["failed"]] == [(2, 0)]
    assert [row["row"] for row in told["unasked"]] == [3]
    assert told["figures"][0]["n"] == 1
    assert any("Row 2" in event.text for event in events if isinstance(event, ev.Logged))
    data.write_text(json.dumps(rows[1]) + "\n")
    events, _ = ran(capsys, tmp_path / "none", models=[tiny], dataset=str(data), metrics="exact_match")
    assert isinstance(events[-1], ev.Failed)
    assert events[-1].message.startswith("Every row failed; the first: the prompt has 600 tokens")


def test_params_as_people_write_them() -> None:
    assert asked(model="", dataset="", metrics=None).models == [evaluate.MODEL_ID]
    assert asked(model="a/b", adapter="run/12").models == ["a/b + run/12"]
    assert asked(adapter="run/12").models == [f"{evaluate.MODEL_ID} + run/12"]
    assert asked(models="a/b, run/12, a/b").models == ["a/b", "run/12"]
    assert asked(metrics="f1,mcc").metrics == ["f1", "mcc"]
    assert evaluate.name_of("a/b + /home/runs/ab12/adapter") == "run/ab12"
    assert evaluate.name_of("a/b") == "a/b"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"metrics": "exact_mach"}, "perhaps it is 'exact_match'"),
        ({"metrics": "nonsense"}, "use some of exact_match"),
        ({"max_rows": -1}, "max_rows is -1; use at least 0"),
        ({"pattern": "("}, "no regular expression"),
        ({"models": [f"a/{n}" for n in range(9)]}, "use at most 8 models"),
        ({"batch": 4}, "no setting 'batch'"),
    ],
)
def test_wrong_params_are_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words.replace("(", r"\(")):
        asked(**values)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"metrics": "preference_accuracy"}, "does not fit sample/evaluation: it needs chosen and rejected"),
        ({"metrics": "reward"}, "name a reward model"),
        ({"metrics": "f1"}, "so they are no labels; use exact_match"),
        ({"metrics": "pattern"}, "give a pattern"),
        ({"mode": "likelihood", "metrics": "exact_match"}, "have no column choices"),
        ({"json_schema": "{"}, "no JSON schema"),
    ],
)
def test_what_does_not_fit_is_said_before_the_run(values: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        RECIPES["evaluate"].preflight(asked(**values))


def test_rows_that_a_run_held_out(capsys, tmp_path: Path, tiny: str) -> None:
    tuned = tmp_path / "ab12"
    tuned.mkdir()
    (tuned / "job.json").write_text(json.dumps({"recipe": "sft"}))
    settings = {"model": tiny, "dataset": "sample/instructions", "max_rows": 40, "eval_rows": 4}
    (tuned / "params.json").write_text(json.dumps(settings))
    _, told = ran(capsys, tmp_path / "run", models=[tiny], held_out_of=str(tuned), metrics="exact_match")
    assert (told["rows"], told["dataset"]) == (4, "rows held out of run/ab12")
    from backend.recipes import data

    made = check(RECIPES["sft"].params, settings)
    learned, _ = data.split(data.read(made, RECIPES["sft"].wants).dataset(), 4, made.seed)
    held = [one.prompt for one in evaluate._held_out(tuned).questions]
    assert not [prompt for prompt in learned["prompt"] if prompt in held]
    (tuned / "params.json").write_text(json.dumps(settings | {"eval_rows": 0}))
    with pytest.raises(BadInput, match="Run ab12 held no rows out"):
        evaluate._held_out(tuned)
    (tuned / "job.json").write_text(json.dumps({"recipe": "evaluate"}))
    with pytest.raises(BadInput, match="Run ab12 trained nothing"):
        evaluate._held_out(tuned)
    for values, words in (({"held_out_of": str(tuned)}, "trained nothing"), ({"answers": str(tuned)}, "no answers")):
        with pytest.raises(BadInput, match=words):  # before the run
            RECIPES["evaluate"].preflight(asked(**values))


def test_no_rows_are_no_evaluation(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(BadData, match="has no rows"):
        evaluate.preflight(asked(dataset=str(tmp_path / "empty.jsonl")))
