"""The Evaluate tab without a browser: what its buttons start, what is shown of results, whose they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from starlette.requests import Request

from backend import events as ev
from backend.jobs import Job, Run
from backend.lab import Lab
from backend.starter import MODEL_ID
from backend.targets.fake import Fake
from tests.backend.test_evaluations import measured
from tests.ui.drawing import ME, YOU, drawn, handler
from tests.ui.scripted import lab as scripted
from ui.tabs import evaluate
from ui.visitor import owner


@pytest.fixture
def lab(home: Path) -> Lab:
    return scripted(ATELIER_HOME=str(home))


def form(blocks: gr.Blocks, **typed: Any) -> list[Any]:
    """The values of the form as it opens, with some typed over by elem_id's last part."""
    one = next(one for one in blocks.fns.values() if one.fn is not None and one.fn.__name__ == "on_start")
    over = {f"evaluate-{name.replace('_', '-')}": value for name, value in typed.items()}
    ids = [str(part.elem_id) for part in one.inputs]
    assert set(over) <= set(ids)
    return [over.get(name, part.value) for name, part in zip(ids, one.inputs, strict=True)]


def tuned(lab: Lab) -> Run:
    run = lab.store.add(Job("sft", {"model": MODEL_ID, "dataset": "sample/instructions"}, "fake", owner(ME)), {})
    (run.folder / "adapter").mkdir()
    (run.folder / "adapter" / "adapter_config.json").write_text("{}")
    return run


def test_as_it_opens_it_can_be_started(lab: Lab) -> None:
    blocks = drawn(evaluate.build, lab)
    run_id, timer = handler(blocks, "on_start")(ME, *form(blocks, max_rows="4"))
    params = lab.status(run_id, owner(ME))["params"]
    assert (params["models"], params["dataset"], params["max_rows"]) == ([MODEL_ID], "sample/evaluation", 4)
    assert timer.active


def test_a_bad_value_is_named_before_anything_starts(lab: Lab) -> None:
    blocks = drawn(evaluate.build, lab)
    with pytest.raises(gr.Error, match="max_rows is 'many'; it must be a whole number"):
        handler(blocks, "on_start")(ME, *form(blocks, max_rows="many"))
    assert lab.runs(owner(ME)) == []


def test_the_example_takes_the_last_tuned_run_and_its_base(lab: Lab) -> None:
    blocks = drawn(evaluate.build, lab)
    with pytest.raises(gr.Error, match="tuned no model yet"):
        handler(blocks, "on_example")(ME)
    run = tuned(lab)
    models, dataset, started, _ = handler(blocks, "on_example")(ME)
    assert (models, dataset) == ([MODEL_ID, f"run/{run.id}"], "sample/evaluation")
    assert lab.status(started, owner(ME))["params"]["models"] == models
    _, dataset, started, _ = handler(blocks, "on_forgot")(ME)
    assert dataset == lab.status(started, owner(ME))["params"]["dataset"] == "sample/forgetting"


def test_results_and_their_rows(lab: Lab) -> None:
    run = measured(lab, owner(ME))
    blocks = drawn(evaluate.build, lab)
    event = gr.EventData(None, {"run": run.id})
    _, shown, header, table, _, _, figure, part, *_ = handler(blocks, "on_open")(event, ME)
    assert shown["visible"]
    assert "sample/evaluation" in header
    assert "Can&#x27;t tell" in table
    assert figure["value"] == "exact_match"
    assert ("part: a", "part\na") in part["choices"]
    note, _, rows, back, more = handler(blocks, "on_rows")(run.id, 0, {}, "Wins", "exact_match", "part\nb", "", ME)
    assert note == ""
    assert "2 rows" in rows
    assert not back["interactive"]
    assert not more["interactive"]
    cell = {"cell": ["1", "oslo", "bergen"]}
    note, every, rows, *_ = handler(blocks, "on_rows")(run.id, 0, cell, "All", "exact_match", "", "", ME)
    assert "Only oslo answered as bergen" in note
    assert every["visible"] is True
    assert "Bergen" in rows
    assert run.id in handler(blocks, "on_history")(run.id, ME)
    with pytest.raises(gr.Error, match="no run 'ab12'"):  # its figures stay
        handler(blocks, "on_code")(run.id, ME)
    assert run.id not in handler(blocks, "on_history")("", YOU)


@pytest.mark.parametrize("name", ["on_open", "on_pin"])
def test_somebody_elses_are_not_shown(lab: Lab, name: str) -> None:
    run = measured(lab, owner(ME))
    with pytest.raises(gr.Error, match="not yours"):
        handler(drawn(evaluate.build, lab), name)(gr.EventData(None, {"run": run.id}), YOU)


def test_names_pins_and_deleting(lab: Lab) -> None:
    run = measured(lab, owner(ME))
    blocks = drawn(evaluate.build, lab)
    assert ">First</h2>" in handler(blocks, "on_name")(run.id, "First", ME)
    handler(blocks, "on_pin")(gr.EventData(None, {"run": run.id}), ME)
    assert "★" in handler(blocks, "on_history")("", ME)
    path = Path(handler(blocks, "on_export")(run.id, ".md", ME))
    assert path.name == f"evaluation-{run.id}.md"
    handler(blocks, "on_delete")(run.id, ME)
    assert "kept here" in handler(blocks, "on_history")("", ME)


def test_models_to_choose(lab: Lab) -> None:
    choices = handler(drawn(evaluate.build, lab), "on_models")(ME)["choices"]
    assert MODEL_ID in [value for _, value in choices]


def test_what_is_under_way_is_watched_until_its_end_and_by_a_page_that_is_opened_again(lab: Lab) -> None:
    fake = lab.targets["fake"]
    assert isinstance(fake, Fake)
    fake.script = lambda run: [ev.Started(), ev.Progressed(done=3, total=8, unit="answers", eta=5)]
    blocks = drawn(evaluate.build, lab)
    started, _ = handler(blocks, "on_start")(ME, *form(blocks))
    going, watched, _, timer, *_ = handler(blocks, "on_tick")(started, ME)
    assert "answer 3 of 8" in going
    assert timer.active
    assert handler(blocks, "on_load")(ME)[0] == started
    assert handler(blocks, "on_load")(YOU)[0] == ""
    fake.write(lab.run(started, owner(ME)), ev.Failed(message="It broke.", hint="Again."))
    going, watched, _, timer, *_ = handler(blocks, "on_tick")(started, ME)
    assert "It broke." in going
    assert (watched, timer.active) == ("", False)


def test_a_link_opens_an_evaluation_for_its_owner_alone(lab: Lab) -> None:
    run = measured(lab, owner(ME))
    blocks = drawn(evaluate.build, lab)

    def opened(who: gr.Request) -> list[Any]:
        who.request.scope["query_string"] = f"tab=evaluate&evaluation={run.id}".encode()
        try:
            return handler(blocks, "on_link")(gr.Request(Request(dict(who.request.scope))))
        finally:
            who.request.scope.pop("query_string")

    assert opened(ME)[0] == run.id
    with pytest.raises(gr.Error, match="not yours"):
        opened(YOU)


def test_the_dashboard_compares_all(lab: Lab) -> None:
    blocks = drawn(evaluate.build, lab)
    assert "What you evaluate is compared here" in handler(blocks, "on_board")("", "", "seconds", ME)[2]
    measured(lab, owner(ME))
    names, figures, table, pictures, settings = handler(blocks, "on_board")("", "", "seconds", ME)
    assert (names["value"], figures["value"]) == ("sample/evaluation", "exact_match")
    assert "run/ab12" in table
    assert pictures.count("<svg") >= 2
    assert "All had the same settings" in settings
    path = Path(handler(blocks, "on_board_export")("sample/evaluation", ".csv", ME))
    assert path.read_text().startswith("evaluation,created,model,figure,value,low,high,n")


def test_a_judge_is_watched_and_shows_the_evaluation_that_it_judged(lab: Lab) -> None:
    from tests.backend.recipes.test_judge import evaluation

    run = measured(lab, owner(ME))
    other = run.folder / "x"
    evaluation(other)
    for name in ("questions.jsonl", "answers"):
        (other / name).rename(run.folder / name)
    blocks = drawn(evaluate.build, lab)
    started, timer = handler(blocks, "on_ask")(run.id, MODEL_ID, "Which?", "2", ME)
    assert timer.active
    params = lab.status(started, owner(ME))["params"]
    assert (params["answers"], params["max_rows"], params["criteria"]) == (f"run/{run.id}", 2, "Which?")
    assert handler(blocks, "on_tick")(started, ME)[2] == run.id
    pair, _ = handler(blocks, "on_begin")(run.id, ME)
    assert "press ←" in pair
    place = pair.partition('data-place="')[2].partition('"')[0]
    after = handler(blocks, "on_choose")(run.id, gr.EventData(None, {"choice": "left", "place": place}), ME)
    assert "1 of 3 chosen" in after
    back = handler(blocks, "on_choose")(run.id, gr.EventData(None, {"choice": "back", "place": "99"}), ME)
    assert 'aria-pressed="true"' in back
    assert "won" in handler(blocks, "on_reveal")(run.id, ME)
    data, _ = handler(blocks, "on_tune")(run.id, ME)
    assert data.startswith("upload/")
    put, _ = handler(blocks, "on_put")("Hello?", [MODEL_ID], ME)
    assert lab.status(put, owner(ME))["params"]["metrics"] == ["length"]


def test_tasks_of_the_harness(lab: Lab) -> None:
    blocks = drawn(evaluate.build, lab)
    start = handler(blocks, "on_tasks")
    with pytest.raises(gr.Error, match="No task is named"):
        start([MODEL_ID], "", "", "50", False, None, ME)
    run_id, _ = start([MODEL_ID], "arc_easy, hellaswag", "2", "50", False, None, ME)
    params = lab.status(run_id, owner(ME))["params"]
    assert (params["tasks"], params["num_fewshot"], params["limit"]) == (["arc_easy", "hellaswag"], 2, 50)


def test_how_long_tasks_take_is_told_before_they_run(lab: Lab) -> None:
    blocks = drawn(evaluate.build, lab)
    time = handler(blocks, "on_time")
    assert time([MODEL_ID], "", "", "50", False, None, ME) == ""
    assert "Ask 5 rows first" in time([MODEL_ID], "arc_easy", "", "50", False, None, ME)
    run_id, _ = handler(blocks, "on_tasks")([MODEL_ID], "arc_easy", "", "5", False, None, ME)
    run = lab.run(run_id, owner(ME))
    told = {"dataset": "arc_easy", "rows": 5, "figures": [], "pairs": [], "models": [{"name": "m", "seconds": 10.0}]}
    (run.folder / "results.json").write_text(json.dumps(told))
    assert "About 1 min 40 s for 50 rows" in time([MODEL_ID], "arc_easy", "", "50", False, None, ME)
    assert "By other tasks, perhaps 3 min 20 s for 100" in time([MODEL_ID], "a, b", "", "50", False, None, ME)
    with pytest.raises(gr.Error, match="limit is 'many'"):
        time([MODEL_ID], "arc_easy", "", "many", False, None, ME)


def test_one_that_works_is_stopped_and_resumed_where_it_is_seen(lab: Lab) -> None:
    target: Any = lab.targets["fake"]
    target.script = lambda _: [ev.Started(), ev.Progressed(done=3, total=9, unit="answers", eta=6)]
    blocks = drawn(evaluate.build, lab)
    run_id, _ = handler(blocks, "on_start")(ME, *form(blocks))
    told = handler(blocks, "on_tick")(run_id, ME)[0]
    assert "answer 3 of 9" in told
    assert f'data-act="stop" data-of="{run_id}"' in told
    event = gr.EventData(None, {"run": run_id})
    with pytest.raises(gr.Error, match="not yours"):
        handler(blocks, "on_stop")(event, YOU)
    handler(blocks, "on_stop")(event, ME)
    told, watched, *_ = handler(blocks, "on_tick")(run_id, ME)
    assert f'data-act="resume" data-of="{run_id}"' in told
    assert watched == ""
    assert handler(blocks, "on_resume")(event, ME)[0] == run_id
    assert lab.status(run_id, owner(ME))["state"] == "running"
