"""The run view over runs that a fake target plays: what is drawn, what is sent again, and for whom."""

from __future__ import annotations

import json
import re
import time
import zipfile
from pathlib import Path
from typing import Any, cast

import gradio as gr
import pytest

from backend import events as ev
from backend.jobs import Run
from backend.lab import Lab
from backend.recipes import scoring
from backend.recipes.questions import Question
from backend.store import Store
from backend.targets.fake import Fake
from tests.ui.drawing import ME, YOU, drawn, handler, outputs
from tests.ui.scripted import lab as scripted
from ui.tabs import run
from ui.visitor import owner

SKIP = {"__type__": "update"}
ROWS = [{"prompt": "2+2?", "reference": "4", "base": "Four, I think", "answer": "4"}]


@pytest.fixture
def lab(home: Path) -> Lab:
    return scripted(ATELIER_HOME=str(home))


def begun(run: Run) -> list[ev.Event]:
    """A run that has not ended."""
    return [
        ev.Started(info={"device": "cpu"}),
        *(ev.Measured(step=i, values={"loss": 3.0 / i, "learning_rate": 1e-4}) for i in range(1, 6)),
        ev.Progressed(done=5, total=20, eta=15),
        ev.Produced(kind="samples", name="samples", step=5, data={"rows": ROWS}),
        ev.Wrote(text="half way"),
    ]


def start(lab: Lab, script: Any = None) -> Run:
    target: Any = lab.targets["fake"]
    target.script = script or target.script
    return lab.launch("sft", {}, owner(ME), "fake")


def shown(blocks: gr.Blocks, values: list[Any]) -> dict[str, Any]:
    """What was sent, by elem_id; skipped parts are left out."""
    return {name: value for name, value in zip(outputs(blocks, "show"), values, strict=True) if value != SKIP}


EMPTY = {"run-public", "run-family", "run-beside", "run-group", "run-samples"}  # take no room while they are


def visible(page: dict[str, Any]) -> set[str]:
    """What is shown that may not be."""
    parts = {name for name, value in page.items() if isinstance(value, dict) and value.get("visible")}
    return parts | {name for name in EMPTY if isinstance(page.get(name), str) and page[name]}


def test_a_running_run_is_drawn_whole(lab: Lab) -> None:
    one = start(lab, begun)
    blocks = drawn(run.build, lab)
    page = shown(blocks, handler(blocks, "show")(one.id, ME))
    assert page["Timer"].active
    assert visible(page) == {"run-view", "run-save", "run-cancel", "run-clone", "run-share", "run-samples", "run-code"}
    assert "step 5 of 20 · 15 s left" in page["run-header"]
    assert 'id="run-loss"' in page["run-charts"]
    assert 'id="run-rate"' in page["run-charts"]
    assert "Four, I think" in page["run-samples"]
    assert page["run-log"]["lines"][-1][1:] == ["plain", "half way"]


def test_a_tick_sends_only_what_changed(lab: Lab) -> None:
    one = start(lab, begun)
    blocks = drawn(run.build, lab)
    marks = handler(blocks, "show")(one.id, ME)[-1]
    tick = handler(blocks, "tick")
    assert shown(blocks, tick(one.id, marks, ME)) == {}
    target: Any = lab.targets["fake"]
    target.write(one, ev.Logged(text="a word"))
    page = shown(blocks, tick(one.id, marks, ME))
    assert set(page) == {"run-log", "Textbox"}
    assert [line[2] for line in page["run-log"]["lines"]] == ["a word"]
    whole = handler(blocks, "on_missed")(one.id, ME)
    assert (whole["fresh"], whole["lines"][-1][2]) == (True, "a word")
    target.write(one, ev.Measured(step=6, values={"loss": 0.4}))
    page = shown(blocks, tick(one.id, page["Textbox"], ME))
    assert set(page) == {"run-header", "run-charts", "Textbox"}


@pytest.mark.long
def test_a_run_of_100_000_events_stays_quick(lab: Lab) -> None:
    """Opened once it is read whole; then a tick costs what is new, in time and over the wire."""
    measured = {"loss": 1.5, "learning_rate": 1e-4, "grad_norm": 0.5, "tokens_per_second": 400.0}

    def script(one: Run) -> list[ev.Event]:
        pairs = ((ev.Measured(step=i, values=measured), ev.Wrote(text=f"line {i}")) for i in range(50_000))
        return [ev.Started(), *(event for pair in pairs for event in pair)]

    one = start(lab, script)
    blocks = drawn(run.build, lab)
    began = time.process_time()
    page = shown(blocks, handler(blocks, "show")(one.id, ME))
    assert time.process_time() - began < 20  # 1.5 s on an idle core
    assert len(json.dumps([page["run-log"], page["run-charts"], page["run-header"]])) < 120_000
    tick, target = handler(blocks, "tick"), cast(Any, lab.targets["fake"])
    began = time.process_time()
    for step in range(50_000, 50_020):
        target.write(one, ev.Measured(step=step, values=measured))
        target.write(one, ev.Wrote(text=f"line {step}"))
        page = shown(blocks, tick(one.id, page["Textbox"], ME))
        assert len(page["run-log"]["lines"]) == 1
        assert len(json.dumps(page["run-charts"])) < 60_000
    assert time.process_time() - began < 4  # 0.04 s on an idle core


def test_marks_of_another_run_or_of_none_have_everything_sent(lab: Lab) -> None:
    one, two = start(lab), start(lab)
    blocks = drawn(run.build, lab)
    show, tick = handler(blocks, "show"), handler(blocks, "tick")
    page = shown(blocks, tick(two.id, show(one.id, ME)[-1], ME))
    assert set(page) == set(outputs(blocks, "show"))
    assert json.loads(page["Textbox"])[0] == two.id


def trained(run: Run) -> list[ev.Event]:
    """A run that finished with an adapter."""
    (run.folder / "adapter").mkdir()
    (run.folder / "adapter" / "adapter_config.json").write_text("{}")
    made = ev.Produced(kind="adapter", name="adapter", file="adapter", step=5)
    return [*begun(run), made, ev.Finished(values={"train_loss": 1.0})]


def test_an_ended_run_stops_the_timer_and_can_be_talked_to(lab: Lab) -> None:
    one = start(lab, trained)
    blocks = drawn(run.build, lab)
    page = shown(blocks, handler(blocks, "show")(one.id, ME))
    assert not page["Timer"].active
    assert {"run-chat", "run-after"} < visible(page)
    assert not {"run-save", "run-cancel", "run-resume"} & visible(page)
    wish, tabs = handler(blocks, "on_chat")(one.id, ME)
    assert (wish[1], tabs.selected) == (f"run/{one.id}", "text")
    with zipfile.ZipFile(handler(blocks, "on_zip")(one.id, ME)) as archive:
        assert "adapter_config.json" in archive.namelist()
    assert "half way" in Path(handler(blocks, "on_log")(one.id, ME)).read_text()


@pytest.mark.parametrize(("recipe", "kind"), [("generate", "dataset"), ("quality", "findings")])
def test_rows_that_were_made_or_checked_are_opened_in_data(lab: Lab, recipe: str, kind: str) -> None:
    target: Any = lab.targets["fake"]
    target.script = lambda _: [ev.Started(), ev.Produced(kind=kind, name=kind, file="rows"), ev.Finished()]
    one = lab.launch(recipe, {"dataset": "sample/instructions", "column": "prompt"}, owner(ME), "fake")
    blocks = drawn(run.build, lab)
    page = visible(shown(blocks, handler(blocks, "show")(one.id, ME)))
    assert ("run-look" in page, "run-code" in page) == (True, False)
    wish, tabs = handler(blocks, "on_look")(one.id, ME)
    checked = {"dataset": "sample/instructions", "config": "", "split": "", "revision": "", "findings": one.id}
    assert wish == ({"dataset": f"run/{one.id}"} if recipe == "generate" else checked)
    assert tabs.selected == "data"
    with pytest.raises(gr.Error, match="not yours"):
        handler(blocks, "on_look")(one.id, YOU)


def measured(lab: Lab, one: Run, dataset: str) -> None:
    """The evaluation of `one` on `dataset` ends with results."""
    evaluation = next(each for each in lab.evaluations.of_any_state(one.id, owner(ME))
                      if each.job.params["dataset"] == dataset)  # fmt: skip
    asked = [Question(number, f"Question {number}", "yes") for number in range(1, 21)]
    rows = [[{"answer": "yes" if n < right else "no", "tokens": 1, "seconds": 0.1} for n in range(20)]
            for right in (2, 15)]  # fmt: skip
    models = [{"name": "base", "place": ""}, {"name": f"run/{one.id}", "place": ""}]
    told = scoring.score(["exact_match"], asked, rows, models) | {"dataset": dataset, "unasked": [], "at": 1.0}
    told.pop("scores")
    (evaluation.folder / "results.json").write_text(json.dumps(told))
    cast(Any, lab.targets["fake"]).write(evaluation, ev.Finished())


def test_a_run_is_measured_beside_its_base_and_shows_it_in_the_open(lab: Lab) -> None:
    one = start(lab, trained)
    blocks = drawn(run.build, lab)
    tick, target = handler(blocks, "tick"), cast(Any, lab.targets["fake"])
    page = shown(blocks, handler(blocks, "show")(one.id, ME))
    assert "Compare with base" in page["run-beside"]
    assert not page["Timer"].active
    target.script = lambda _: [ev.Started(), ev.Progressed(done=3, total=256, unit="answers", eta=40)]
    event = gr.EventData(None, {"rows": "some"})
    page = shown(blocks, handler(blocks, "on_beside")(one.id, page["Textbox"], event, ME))
    told = page["run-beside"]
    assert told.count("answer 3 of 256") == 2
    assert "Compare with base" not in told
    assert page["Timer"].active, "the page follows what is measured"
    for dataset in ("sample/evaluation", "sample/forgetting"):
        measured(lab, one, dataset)
    page = shown(blocks, tick(one.id, page["Textbox"], ME))
    told = page["run-beside"]
    assert "Exact match 10.0 % → 75.0 %." in told
    assert re.search(r"Better, by 65\.0 points \[\d+\.\d, \d+\.\d\], n = 20\.", told)
    assert told.index("it did not learn from") < told.index("may have forgotten")
    assert "Measure all rows" in told
    assert not page["Timer"].active
    lab.sharing.publish(one.id, owner(ME), True)
    assert "run-beside" not in visible(shown(blocks, handler(blocks, "show")(one.id, YOU))), (
        "evaluations stay one's own"
    )


def test_what_was_promised_is_told_and_awaited(lab: Lab) -> None:
    target: Any = lab.targets["fake"]
    target.script = begun
    one = lab.launch("sft", {"evaluate_after": True}, owner(ME), "fake")
    blocks = drawn(run.build, lab)
    page = shown(blocks, handler(blocks, "show")(one.id, ME))
    assert "by itself, once it has finished" in page["run-beside"]
    trained(one)
    target.write(one, ev.Produced(kind="adapter", name="adapter", file="adapter", step=5))
    target.write(one, ev.Finished())
    assert shown(blocks, handler(blocks, "show")(one.id, ME))["Timer"].active
    target.script = lambda _: [ev.Started()]
    lab.sequel.tend(lab.store.run)
    page = shown(blocks, handler(blocks, "show")(one.id, ME))
    assert "Running" in page["run-beside"]
    assert page["Timer"].active


def test_an_evaluation_shows_what_it_found(lab: Lab) -> None:
    one = start(lab, trained)
    cast(Any, lab.targets["fake"]).script = lambda _: [ev.Started()]
    evaluation = lab.evaluations.compare(one.id, owner(ME))[0]
    measured(lab, one, "sample/evaluation")
    blocks = drawn(run.build, lab)
    page = shown(blocks, handler(blocks, "show")(evaluation.id, ME))
    assert "Exact match 10.0 % → 75.0 %." in page["run-beside"]
    wish, tabs = handler(blocks, "_looked")(gr.EventData(None, {"run": evaluation.id}))
    assert (wish, tabs.selected) == (f"run/{evaluation.id}", "evaluate")


def test_a_failed_run_says_why_and_what_to_do(lab: Lab) -> None:
    said = ev.Failed(code="no_room", message="Memory ran out <at> step 3.", hint="Use a smaller batch.")
    one = start(lab, lambda _: [ev.Started(), said])
    blocks = drawn(run.build, lab)
    page = shown(blocks, handler(blocks, "show")(one.id, ME))
    assert "Memory ran out &lt;at&gt; step 3." in page["run-header"]
    assert "Use a smaller batch." in page["run-header"]
    assert page["run-log"]["lines"][-1][1] == "error"
    assert "run-resume" in visible(page)


def test_stop_and_save_and_cancel(lab: Lab) -> None:
    for name, word in (("on_save", "Paused"), ("on_cancel", "Cancelled")):
        one = start(lab, begun)
        blocks = drawn(run.build, lab)
        page = shown(blocks, handler(blocks, name)(one.id, "", ME))
        assert word in page["run-header"]
        assert "run-resume" in visible(page)


@pytest.mark.parametrize("name", ["show", "on_code", "on_chat", "on_zip", "on_log", "on_missed", "on_card", "on_merge"])
def test_somebody_elses_run_is_not_yours_and_nothing_more(lab: Lab, name: str) -> None:
    one = start(lab)
    blocks = drawn(run.build, lab)
    with pytest.raises(gr.Error) as error:
        handler(blocks, name)(one.id, YOU)
    assert error.value.message.startswith("This run is not yours.")
    assert one.job.params["dataset"] not in error.value.message


def test_with_no_run_there_is_a_way_to_one(lab: Lab) -> None:
    blocks = drawn(run.build, lab)
    page = shown(blocks, handler(blocks, "show")("", ME))
    assert visible(page) == {"run-empty"}
    assert not page["Timer"].active


def test_the_code_is_made_when_it_is_asked_for(lab: Lab) -> None:
    one = start(lab)
    blocks = drawn(run.build, lab)
    script = handler(blocks, "on_code")(one.id, ME)
    compile(script, "script.py", "exec")
    assert "SFTTrainer" in script


def test_a_clone_shows_where_it_comes_from(lab: Lab) -> None:
    one = start(lab)
    other = lab.launch("sft", {}, owner(ME), "fake", one.id)
    blocks = drawn(run.build, lab)
    page = shown(blocks, handler(blocks, "show")(other.id, ME))
    assert f"cloned from {one.id}" in page["run-family"]
    assert "run-family" in visible(page)
    assert "run-family" in visible(shown(blocks, handler(blocks, "show")(one.id, ME)))


class Waiting(Fake):
    """A target in whose line everything waits."""

    device = "cpu"

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store

    def start(self, run: Run) -> None:
        self.store.enqueue(run, self.device)

    def ahead(self, run: Run) -> int | None:
        return [name for name, _ in self.store.line(self.device)].index(run.id)


def test_my_waiting_runs_can_be_reordered_among_themselves(lab: Lab) -> None:
    lab.targets = {"fake": Waiting(lab.store)}
    first, theirs, second, third = (lab.launch("sft", {}, owner(who), "fake").id for who in (ME, YOU, ME, ME))
    blocks = drawn(run.build, lab)
    show, move = handler(blocks, "show"), handler(blocks, "on_ahead")
    assert {"run-behind"} == {"run-ahead", "run-behind"} & visible(shown(blocks, show(first, ME)))
    assert {"run-ahead", "run-behind"} < visible(shown(blocks, show(second, ME)))
    page = shown(blocks, move(third, "", ME))
    assert "Queued: 2 runs before yours" in page["run-header"]
    move(third, "", ME)
    assert [name for name, _ in lab.store.line("cpu")] == [third, theirs, first, second]
    assert not {"run-ahead", "run-behind"} & visible(shown(blocks, show(theirs, YOU)))
    with pytest.raises(gr.Error, match="No other run of yours waits ahead"):
        move(third, "", ME)
    with pytest.raises(gr.Error, match="not yours"):
        move(theirs, "", ME)
    handler(blocks, "on_behind")(third, "", ME)
    assert next(name for name, _ in lab.store.line("cpu")) == first


def test_what_a_run_made_can_be_taken_away(lab: Lab) -> None:
    def script(one: Run) -> list[ev.Event]:
        (one.folder / "adapter").mkdir()
        (one.folder / "adapter" / "adapter_config.json").write_text("{}")
        return [*begun(one), ev.Produced(kind="adapter", name="adapter", file="adapter", step=5), ev.Finished()]

    one = start(lab, script)
    blocks = drawn(run.build, lab)
    held, *_ = handler(blocks, "on_open")(one.id, ME)
    assert "adapter_config.json <span class=quiet>2 B</span>" in held
    with zipfile.ZipFile(handler(blocks, "on_zip")(one.id, ME)) as archive:
        assert {"adapter_config.json", "README.md", "train.py"} <= set(archive.namelist())
    assert json.loads(Path(handler(blocks, "on_notebook")(one.id, ME)).read_text())["cells"]
    assert "base_model" in handler(blocks, "on_card")(one.id, ME)["value"]
    with pytest.raises(gr.Error, match="nobody is signed in"):
        handler(blocks, "on_push")(one.id, "me/mine", True, ME)


def test_a_sweep_shows_its_runs_side_by_side(lab: Lab) -> None:
    runs = lab.outcomes.sweep("sft", {}, {"lora_r": [4, 16]}, owner(ME), "fake")
    blocks = drawn(run.build, lab)
    page = shown(blocks, handler(blocks, "show")(runs[0].id, ME))
    assert {"run-group"} < visible(page)
    drawing = page["run-group"]
    assert "The sweep: lora_r" in drawing
    assert 'data-name="4"' in drawing
    assert 'data-name="16"' in drawing
    assert f'data-run="{runs[1].id}"' in drawing
    alone = start(lab)
    assert "run-group" not in visible(shown(blocks, handler(blocks, "show")(alone.id, ME)))


def test_a_sweep_is_followed_beyond_the_run_that_is_shown(lab: Lab) -> None:
    target: Any = lab.targets["fake"]
    whole = target.script
    target.script = lambda one: (begun if one.job.params["lora_r"] == 16 else whole)(one)
    first, second = lab.outcomes.sweep("sft", {}, {"lora_r": [4, 16]}, owner(ME), "fake")
    blocks = drawn(run.build, lab)
    show, tick = handler(blocks, "show"), handler(blocks, "tick")
    page = shown(blocks, show(first.id, ME))
    assert "Finished" in page["run-header"]
    assert page["Timer"].active, "another run of the sweep goes on"
    assert shown(blocks, tick(first.id, page["Textbox"], ME)) == {}
    target.write(second, ev.Finished())
    page = shown(blocks, tick(first.id, page["Textbox"], ME))
    assert (page["Timer"].active, "run-group" in page) == (False, True)


def test_a_dry_run_says_what_it_found(lab: Lab) -> None:
    found = {"steps": 3, "memory_gb": 1.234, "seconds_per_step": 0.51}
    target: Any = lab.targets["fake"]
    target.script = lambda one: [ev.Started(), ev.Finished(reason="dry run", values=found)]
    one = lab.launch("sft", {"dry_run": True}, owner(ME), "fake")
    blocks = drawn(run.build, lab)
    page = shown(blocks, handler(blocks, "show")(one.id, ME))
    assert "SFT · LoRA · dry run on instructions" in page["run-header"]
    assert "It took 1.23 GB at most and 0.51 s a step" in page["run-header"]


def test_what_was_made_of_a_run_names_it(lab: Lab) -> None:
    first = start(lab)
    (first.folder / "adapter").mkdir()
    (first.folder / "adapter" / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    made = lab.launch("merge", {"run": f"run/{first.id}"}, owner(ME), "fake")
    blocks = drawn(run.build, lab)
    header = shown(blocks, handler(blocks, "show")(made.id, ME))["run-header"]
    assert f"<h2>Merge of run {first.id}</h2>" in header
    assert '<div class="quiet">started' in header
