"""The four steps without a browser: facts about data, the plan in words, launching, cloning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from PIL import Image

from backend.lab import Lab
from backend.recipes import METHODS
from tests.ui.drawing import ME, YOU, drawn, handler, outputs
from tests.ui.scripted import lab as scripted
from ui import tune_views
from ui.page import HIDDEN
from ui.tabs import tune
from ui.tune_form import ROLES
from ui.visitor import owner


@pytest.fixture
def lab(home: Path) -> Lab:
    return scripted(ATELIER_HOME=str(home))


def form(blocks: gr.Blocks, **typed: Any) -> list[Any]:
    """The values of the form as it opens, with some typed over by elem_id's last part."""
    one = next(one for one in blocks.fns.values() if one.fn is not None and one.fn.__name__ == "on_plan")
    over = {f"tune-{name.replace('_', '-')}": value for name, value in typed.items()}
    ids = [str(part.elem_id) for part in one.inputs]
    assert set(over) <= set(ids)
    return [over.get(name, part.value) for name, part in zip(ids, one.inputs, strict=True)]


def test_as_it_opens_it_can_be_run(lab: Lab) -> None:
    blocks = drawn(tune.build, lab)
    summary, cost = handler(blocks, "on_plan")(ME, *form(blocks))
    rows = len((Path(__file__).parents[3] / "backend/starter/data/instructions.jsonl").read_text().splitlines())
    assert "SFT · LoRA r=8" in summary
    assert f"{rows:,} rows, 1 epoch ≈ " in summary
    assert "A pretend machine" in summary
    assert "starts at once" in cost
    busy, (_, run_id, tabs, _) = list(handler(blocks, "on_launch")("", [], ME, *form(blocks)))
    assert (busy[0]["interactive"], tabs.selected) == (False, "run")
    assert lab.status(run_id, owner(ME))["params"]["dataset"] == "sample/instructions"


def test_what_it_takes_is_told_and_a_press_mends_what_does_not_fit(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = drawn(tune.build, lab)
    seen = {
        "memory": {"needed": 9_000_000_000, "free": 4_000_000_000, "measured": False, "parts": {}},
        "time": {"steps": 3, "seconds_per_step": 2.0, "seconds": 6.0},
        "disk": {"needed": 50_000_000, "free": 10**12},
        "verdict": {"level": "no", "text": "It does not fit <here>."},
        "fixes": [{"title": "Batch of 2", "set": {"per_device_train_batch_size": 2}, "needed": 3_000_000_000}],
        "price": ["No extra cost: it runs where this page is served."],
    }  # fmt: skip
    monkeypatch.setattr(lab, "preflight", lambda *asked: seen)
    cost = handler(blocks, "on_plan")(ME, *form(blocks, max_steps="3"))[1]
    assert "It does not fit &lt;here&gt;." in cost
    assert "Memory: about 9 GB, by formula; 4 GB are free." in cost
    assert "About 6 s for 3 steps" in cost
    assert "{&quot;per_device_train_batch_size&quot;: 2}" in cost
    event = gr.EventData(None, {"set": '{"per_device_train_batch_size": 2}'})
    filled = shown(blocks, "on_fix", handler(blocks, "on_fix")(ME, event, *form(blocks, max_steps="3")))
    assert (filled["tune-per-device-train-batch-size"], filled["tune-max-steps"]) == ("2", "3")


def test_a_dry_run_is_a_run(lab: Lab) -> None:
    blocks = drawn(tune.build, lab)
    run_id, tabs = handler(blocks, "on_dry_run")(ME, *form(blocks))
    assert tabs.selected == "run"
    assert lab.status(run_id, owner(ME))["params"]["dry_run"] is True


@pytest.mark.parametrize("name", ["on_go", "on_plan", "on_launch", "on_code", "on_lens"])
def test_a_bad_value_is_named_before_anything_starts(lab: Lab, name: str) -> None:
    blocks = drawn(tune.build, lab)
    values = form(blocks, learning_rate="abc")
    answer = handler(blocks, name)
    with pytest.raises(gr.Error, match="learning_rate is 'abc'"):
        list(answer("", [], ME, *values) if name == "on_launch" else answer(ME, *values))
    assert lab.runs(owner(ME)) == []


def test_what_a_dataset_is_and_what_is_wrong_with_it(lab: Lab, tmp_path: Path) -> None:
    blocks = drawn(tune.build, lab)
    look = handler(blocks, "on_data")
    page, *_ = look("sample/instructions", "sft/lora", "stop", "keep", ME)
    assert "columns: prompt, completion" in page
    assert "panel-error" not in page
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"prompt": "a <b>", "completion": "b"}\n{"prompt": "c", "completion": 3}\n')
    name = handler(blocks, "on_upload")([str(bad)], "sft/lora", ME)[0]["value"]
    assert name.startswith("upload/")
    page, _, trouble, choice, *_ = look(name, "sft/lora", "stop", "keep", ME)
    assert (trouble in page, choice["visible"]) == (True, True)
    assert "Row 2 of bad.jsonl" in page
    assert "a &lt;b&gt;" in page
    with pytest.raises(gr.Error, match="no upload"):
        look(name, "sft/lora", "stop", "keep", YOU)


def test_uploads_are_offered_to_their_owner(lab: Lab, tmp_path: Path) -> None:
    blocks = drawn(tune.build, lab)
    file = tmp_path / "mine.jsonl"
    file.write_text('{"prompt": "a", "completion": "b"}\n' * 2)
    name = handler(blocks, "on_upload")([str(file)], "sft/lora", ME)[0]["value"]
    offered = handler(blocks, "on_datasets")
    assert (name, name) in offered("sft/lora", ME)["choices"]
    assert (f"{name} · not for DPO", name) == offered("dpo/lora", ME)["choices"][-1]
    assert offered("dpo/lora", ME)["choices"][0] == ("sample/preferences", "sample/preferences")
    assert name not in [value for _, value in offered("sft/lora", YOU)["choices"]]


def test_a_clone_takes_over_every_setting_and_remembers_its_parent(lab: Lab) -> None:
    run = lab.launch("sft", {"max_steps": 7, "learning_rate": 3e-4, "lora_r": 4}, owner(ME), "fake")
    blocks = drawn(tune.build, lab)
    ids = outputs(blocks, "on_clone")
    updates = dict(zip(ids, handler(blocks, "on_clone")(run.id, ME), strict=True))
    filled = {name: u.get("value") if isinstance(u, dict) else u for name, u in updates.items()}
    assert (filled["tune-max-steps"], filled["tune-learning-rate"]) == ("7", "0.0003")
    values = [filled[name] if filled[name] is not None else old for name, old in zip(ids, form(blocks), strict=False)]
    *_, (_, run_id, _, _) = handler(blocks, "on_launch")(run.id, [], ME, *values)
    child = lab.status(run_id, owner(ME))
    assert (child["params"], child["parent"]) == (run.job.params, run.id)
    with pytest.raises(gr.Error, match="not yours"):
        handler(blocks, "on_clone")(run.id, YOU)


def test_what_can_not_be_is_off_and_says_so(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune_views, "why_not", lambda method, adapter: "it is dark" if adapter == "ia3" else "")
    page = next(part.html_template for part in drawn(tune.build, lab).blocks.values() if part.elem_id == "tune-grid")
    assert page.count("disabled") == len(tune.METHODS)
    assert page.count("it is dark") == 2 * len(tune.METHODS)
    assert "ORPO<span class=why>experimental</span>" in page
    assert page.count("<span class=why>experimental") == 1
    assert 'value="sft/lora" aria-label="Supervised fine-tuning with LoRA" ${' in page


def test_the_code_is_there_before_the_run(lab: Lab) -> None:
    blocks = drawn(tune.build, lab)
    update = handler(blocks, "on_code")(ME, *form(blocks, max_steps="5"))
    compile(update["value"], "script.py", "exec")
    assert "5" in update["value"]


@pytest.mark.parametrize("recipe", METHODS)
def test_every_method_can_be_planned_as_it_opens(lab: Lab, recipe: str) -> None:
    blocks = drawn(tune.build, lab)
    default = METHODS[recipe].params.model_fields["dataset"].default
    values = form(blocks, cell=f"{recipe}/lora", dataset=default)
    walk, summary, _ = handler(blocks, "on_go")(ME, *values)
    assert walk.selected == tune.WHERE
    assert f"{recipe.upper()} · LoRA r=8" in summary
    *_, (_, run_id, _, _) = handler(blocks, "on_launch")("", [], ME, *values)
    assert lab.status(run_id, owner(ME))["recipe"] == recipe


def shown(blocks: gr.Blocks, name: str, updates: list[Any]) -> dict[str, Any]:
    return {
        part: update["value"] if isinstance(update, dict) and "value" in update else update
        for part, update in zip(outputs(blocks, name), updates, strict=True)
    }


def test_a_sample_gives_way_to_one_that_the_method_can_learn_from(lab: Lab, tmp_path: Path) -> None:
    blocks = drawn(tune.build, lab)
    choose, empty = handler(blocks, "on_cell"), [""] * len(ROLES)
    assert shown(blocks, "on_cell", choose(ME, "sample/instructions", "dpo/lora", "stop", "keep", *empty))[
        "tune-dataset"
    ] == ("sample/preferences")
    page = shown(blocks, "on_cell", choose(ME, "sample/instructions", "grpo/lora", "stop", "keep", *empty))
    assert "prompt-only made of prompt-completion" in page["tune-facts"]
    (tmp_path / "mine.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 2)
    name = lab.upload(owner(ME), tmp_path / "mine.jsonl")
    page = shown(blocks, "on_cell", choose(ME, name, "dpo/lora", "stop", "keep", *empty))
    assert "mine.jsonl is prompt-completion data" in page["tune-unfit"]
    assert page["tune-dataset"] == {"__type__": "update"}


def test_columns_that_look_right_are_taken_and_can_be_changed(lab: Lab, tmp_path: Path) -> None:
    blocks = drawn(tune.build, lab)
    (tmp_path / "mine.csv").write_text("question,answer,other\na,b,c\nd,e,\n")
    name = lab.upload(owner(ME), tmp_path / "mine.csv")
    page = shown(blocks, "on_data", handler(blocks, "on_data")(name, "sft/lora", "stop", "keep", ME))
    assert "panel-error" not in page["tune-facts"]
    assert (page["tune-role-prompt"], page["tune-role-completion"], page["tune-role-text"]) == (
        "question",
        "answer",
        "",
    )
    chosen = [{"prompt": "question", "completion": "other"}.get(role, "") for role in ROLES]
    page = shown(blocks, "on_columns", handler(blocks, "on_columns")(ME, name, "sft/lora", "stop", "keep", *chosen))
    assert "Row 2 of mine.csv: completion is empty." in page["tune-facts"]
    values = form(
        blocks, dataset=name, role_prompt="question", role_completion="answer", per_device_train_batch_size="1"
    )
    *_, (_, run_id, _, _) = handler(blocks, "on_launch")("", [], ME, *values)
    assert lab.status(run_id, owner(ME))["params"]["columns"] == {"prompt": "question", "completion": "answer"}


def test_wrong_rows_are_listed_and_can_be_left_out(lab: Lab, tmp_path: Path) -> None:
    blocks = drawn(tune.build, lab)
    rows = [{"prompt": "a", "completion": f"b{number}"} for number in range(4)] + [
        {"prompt": "a", "completion": ""}
    ] * 2
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    name = lab.upload(owner(ME), tmp_path / "mine.jsonl")
    page = shown(blocks, "on_data", handler(blocks, "on_data")(name, "sft/lora", "stop", "keep", ME))
    assert "<b>2 rows</b> wrong: completion is empty <span class=quiet>rows 5, 6</span>" in page["tune-facts"]
    page = shown(blocks, "on_data", handler(blocks, "on_data")(name, "sft/lora", "drop", "keep", ME))
    assert "<b>2 rows</b> left out: completion is empty" in page["tune-facts"]
    assert "panel-error" not in page["tune-facts"]
    with pytest.raises(gr.Error, match="set bad_rows to drop"):
        list(handler(blocks, "on_launch")("", [], ME, *form(blocks, dataset=name)))
    values = form(blocks, dataset=name, bad_rows="drop", eval_rows="1", per_device_train_batch_size="1")
    assert "6 rows, 2 of them left out" in handler(blocks, "on_plan")(ME, *values)[0]
    *_, (_, run_id, _, _) = handler(blocks, "on_launch")("", [], ME, *values)
    assert lab.status(run_id, owner(ME))["params"]["bad_rows"] == "drop"


def test_rows_that_are_there_twice_can_be_left_out(lab: Lab, tmp_path: Path) -> None:
    blocks = drawn(tune.build, lab)
    rows = [{"prompt": "a", "completion": f"b{number}"} for number in (1, 2, 3, 2, 1)]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    name = lab.upload(owner(ME), tmp_path / "mine.jsonl")
    page = shown(blocks, "on_data", handler(blocks, "on_data")(name, "sft/lora", "stop", "keep", ME))
    assert "<b>2 rows</b> kept: the same as an earlier row <span class=quiet>rows 4, 5</span>" in page["tune-facts"]
    seen = handler(blocks, "on_data")(name, "sft/lora", "stop", "drop", ME)
    assert "<b>2 rows</b> left out: the same" in shown(blocks, "on_data", seen)["tune-facts"]
    assert dict(zip(outputs(blocks, "on_data"), seen, strict=True))["tune-same-rows"]["visible"] is True
    values = form(blocks, dataset=name, same_rows="drop", eval_rows="1", per_device_train_batch_size="1")
    assert "5 rows, 2 of them left out" in handler(blocks, "on_plan")(ME, *values)[0]
    values = form(blocks, dataset=name, same_rows="stop", eval_rows="1", per_device_train_batch_size="1")
    with pytest.raises(gr.Error, match=r"Row 4 of mine\.jsonl is the same as an earlier row"):
        handler(blocks, "on_plan")(ME, *values)


def test_reward_runs_of_mine_are_offered_first(lab: Lab) -> None:
    run = lab.launch("reward", {}, owner(ME), "fake")
    (run.folder / "adapter").mkdir()
    offered = handler(drawn(tune.build, lab), "on_rewards")
    assert offered(ME)["choices"][0][1] == f"run/{run.id}"
    assert "exact" in [value for _, value in offered(YOU)["choices"]]
    assert f"run/{run.id}" not in [value for _, value in offered(YOU)["choices"]]


def test_the_lens_is_drawn(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    lengths = {"width": 4, "counts": [0, 3, 1], "cut": 9, "over": 1, "measured": 4, "total": 900, "longest": 11}
    pieces = [["<b>", False], ["Paris\n", True]]
    row = [{"name": "chosen", "pieces": pieces, "tokens": 900, "trained": 1}]
    long = {"rule": "longer than 9 tokens", "count": 12, "rows": [7, 31], "known": 900}
    seen = {"rows": [row], "note": "", "lengths": lengths, "long": long}
    monkeypatch.setattr(lab.lenses, "look", lambda recipe, params: asked.append((recipe, params)) or seen)
    blocks = drawn(tune.build, lab)
    page, choice = handler(blocks, "on_lens")(ME, *form(blocks, max_length="9"))
    assert choice["visible"] is True
    assert (asked[0][0], asked[0][1]["max_length"]) == ("sft", 9)
    assert "<span>&lt;b&gt;</span><span class=on>Paris⏎\n</span> …" in page
    assert "Chosen · 900 tokens, 1 trained on" in page
    assert "measured on 4 random rows" in page
    assert "12 rows (1.3 %) are longer than max_length 9 and are cut off there" in page
    assert "rows 7, 31 …." in page


def test_a_sweep_makes_a_run_for_each_value(lab: Lab) -> None:
    blocks = drawn(tune.build, lab)
    sweep = handler(blocks, "on_sweep")
    run_id, tabs = sweep(ME, [], "learning_rate", "1e-4, 1e-3", "lora_r", "4,8", *form(blocks))
    assert tabs.selected == "run"
    runs = lab.outcomes.group(lab.status(run_id, owner(ME))["group"], owner(ME))
    assert [(one["params"]["learning_rate"], one["params"]["lora_r"]) for one in runs] == [
        (1e-4, 4), (1e-4, 8), (1e-3, 4), (1e-3, 8),
    ]  # fmt: skip
    with pytest.raises(gr.Error, match="learning_rate is 'fast'"):
        sweep(ME, [], "learning_rate", "1e-4, fast", "", "", *form(blocks))
    with pytest.raises(gr.Error, match="use one or two"):
        sweep(ME, [], "", "", "", "", *form(blocks))
    assert len(lab.runs(owner(ME))) == 4


def test_a_run_gets_the_secrets_that_are_ticked_for_it(lab: Lab) -> None:
    blocks = drawn(tune.build, lab)
    who, offered = owner(ME), handler(blocks, "on_secrets")
    assert offered([], [], ME)[1]["visible"] == HIDDEN  # there is none to choose
    for name in ("A_KEY", "B_KEY"):
        lab.vault.put(who, name, "of-the-highest-order")
    lab.vault.give(who, "A_KEY", True)
    known, ticks = offered([], [], ME)
    assert (known, ticks["choices"], ticks["value"], ticks["visible"]) == (
        *(["A_KEY", "B_KEY"], ["A_KEY", "B_KEY"], ["A_KEY"], True),
    )
    assert offered(known, ["B_KEY"], ME)[1]["value"] == ["B_KEY"]  # a tick that was taken off stays off
    values = form(blocks)
    ids = [list(handler(blocks, "on_launch")("", ticked, ME, *values))[-1][1] for ticked in (["B_KEY"], [])]
    chosen, none = (lab.run(run_id, who) for run_id in ids)
    assert (chosen.grants, none.grants) == (["B_KEY"], [])
    assert lab._granted(chosen) == {"B_KEY": "of-the-highest-order"}
    told = str(lab.status(chosen.id, who)) + lab.code("sft", chosen.job.params, who)
    written = b"".join(path.read_bytes() for path in chosen.folder.rglob("*") if path.is_file())
    assert "highest" not in told
    assert b"highest" not in written
    with pytest.raises(gr.Error, match="no secret 'C_KEY'"):
        list(handler(blocks, "on_launch")("", ["C_KEY"], ME, *values))


# -- pictures ---------------------------------------------------------------------------------------------------


@pytest.fixture
def teaches(tiny_image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The starter that draws is a pipeline of random weights."""
    monkeypatch.setattr("backend.starter.names._PIPELINE", tiny_image)


def test_an_image_model_has_steps_of_its_own(lab: Lab, teaches: None) -> None:
    blocks = drawn(tune.build, lab)
    learner = handler(blocks, "on_learner")
    page = shown(
        blocks, "on_learner", learner(ME, "pictures", "image_lora", "sft/lora", "sample/instructions", "stop", "keep")
    )
    assert (page["tune-dataset"], page["tune-learner"], page["tune-cell"]) == (
        "sample/mascot", "pictures", "image_lora/",
    )  # fmt: skip
    page = shown(blocks, "on_data", handler(blocks, "on_data")("sample/mascot", "image_lora/", "stop", "keep", ME))
    assert page["tune-facts"].count("<img") == 10
    assert page["tune-captions"] == "text"
    page = shown(blocks, "on_learner", learner(ME, "text", "image_lora", "sft/lora", "sample/mascot", "stop", "keep"))
    assert (page["tune-dataset"], page["tune-cell"]) == ("sample/instructions", "sft/lora")


@pytest.mark.parametrize(("recipe", "title"), [("image_lora", "Image LoRA r=8"), ("textual_inversion", "Textual")])
def test_what_teaches_an_image_model_is_planned_and_cloned(lab: Lab, teaches: None, recipe: str, title: str) -> None:
    blocks = drawn(tune.build, lab)
    values = form(blocks, cell=f"{recipe}/", dataset="sample/mascot", pictures_max_steps="12")
    summary, cost = handler(blocks, "on_plan")(ME, *values)
    assert title in summary
    assert "10 pictures of sample/mascot</b>, 12 steps" in summary
    assert "for 12 steps, a guess that the run soon betters" in cost
    assert "Memory: about" in cost
    *_, (_, run_id, _, _) = handler(blocks, "on_launch")("", [], ME, *values)
    assert lab.status(run_id, owner(ME))["params"]["max_steps"] == 12
    page = shown(blocks, "on_clone", handler(blocks, "on_clone")(run_id, ME))
    assert (page["tune-cell"], page["tune-pictures-max-steps"], page["tune-way"]) == (f"{recipe}/", "12", recipe)


def test_a_wrong_value_of_an_image_lora_is_named(lab: Lab, teaches: None) -> None:
    blocks = drawn(tune.build, lab)
    values = form(blocks, cell="image_lora/", dataset="sample/mascot", image_lora_lora_r="0")
    with pytest.raises(gr.Error, match="lora_r is 0; use at least 1"):
        handler(blocks, "on_plan")(ME, *values)


def test_pictures_that_are_uploaded_are_for_an_image_model(lab: Lab, teaches: None, tmp_path: Path) -> None:
    blocks, files = drawn(tune.build, lab), []
    for number, colour in enumerate(("red", "blue")):
        Image.new("RGB", (40, 40), colour).save(tmp_path / f"{number}.png")
        files.append(str(tmp_path / f"{number}.png"))
    page = shown(blocks, "on_upload", handler(blocks, "on_upload")(files, "sft/lora", ME))
    assert page["tune-dataset"].endswith("/pictures.zip")
    assert (page["tune-cell"], page["tune-learner"]) == ("image_lora/", "pictures")
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(gr.Error, match="3 files were given, and not all are pictures"):
        handler(blocks, "on_upload")([*files, str(tmp_path / "a.csv")], "sft/lora", ME)
