"""The four steps without a browser: facts about data, the plan in words, launching, cloning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from backend.lab import Lab
from tests.ui.drawing import ME, YOU, drawn, handler, outputs
from tests.ui.scripted import lab as scripted
from ui.tabs import tune
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
    busy, (_, run_id, tabs, _) = list(handler(blocks, "on_launch")("", ME, *form(blocks)))
    assert (busy[0]["interactive"], tabs.selected) == (False, "run")
    assert lab.status(run_id, owner(ME))["params"]["dataset"] == "sample/instructions"


def test_the_time_is_told_from_a_run_like_it(lab: Lab) -> None:
    blocks = drawn(tune.build, lab)
    values = form(blocks, sft_max_steps="3")
    assert "after the first steps" in handler(blocks, "on_plan")(ME, *values)[1]
    list(handler(blocks, "on_launch")("", ME, *values))
    assert "for 3 steps, going by your last run like this" in handler(blocks, "on_plan")(ME, *values)[1]


@pytest.mark.parametrize("name", ["on_plan", "on_launch", "on_code"])
def test_a_bad_value_is_named_before_anything_starts(lab: Lab, name: str) -> None:
    blocks = drawn(tune.build, lab)
    values = form(blocks, sft_learning_rate="abc")
    answer = handler(blocks, name)
    with pytest.raises(gr.Error, match="learning_rate is 'abc'"):
        list(answer("", ME, *values) if name == "on_launch" else answer(ME, *values))
    assert lab.runs(owner(ME)) == []


def test_what_a_dataset_is_and_what_is_wrong_with_it(lab: Lab, tmp_path: Path) -> None:
    blocks = drawn(tune.build, lab)
    look = handler(blocks, "on_data")
    page = look("sample/instructions", "sft/lora", ME)
    assert "columns: prompt, completion" in page
    assert "panel-error" not in page
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"prompt": "a <b>", "completion": "b"}\n{"prompt": "c", "completion": 3}\n')
    name = handler(blocks, "on_upload")(str(bad), ME)["value"]
    assert name.startswith("upload/")
    page = look(name, "sft/lora", ME)
    assert "Row 2 of bad.jsonl" in page
    assert "a &lt;b&gt;" in page
    with pytest.raises(gr.Error, match="no upload"):
        look(name, "sft/lora", YOU)


def test_uploads_are_offered_to_their_owner(lab: Lab, tmp_path: Path) -> None:
    blocks = drawn(tune.build, lab)
    file = tmp_path / "mine.jsonl"
    file.write_text('{"prompt": "a", "completion": "b"}\n' * 2)
    name = handler(blocks, "on_upload")(str(file), ME)["value"]
    offered = handler(blocks, "on_datasets")
    assert name in offered(ME)["choices"]
    assert name not in offered(YOU)["choices"]


def test_a_clone_takes_over_every_setting_and_remembers_its_parent(lab: Lab) -> None:
    run = lab.launch("sft", {"max_steps": 7, "learning_rate": 3e-4, "lora_r": 4}, owner(ME), "fake")
    blocks = drawn(tune.build, lab)
    ids = outputs(blocks, "on_clone")
    updates = dict(zip(ids, handler(blocks, "on_clone")(run.id, ME), strict=True))
    filled = {name: u.get("value") if isinstance(u, dict) else u for name, u in updates.items()}
    assert (filled["tune-sft-max-steps"], filled["tune-sft-learning-rate"]) == ("7", "0.0003")
    values = [filled[name] for name in ids[: len(form(blocks))]]
    *_, (_, run_id, _, _) = handler(blocks, "on_launch")(run.id, ME, *values)
    child = lab.status(run_id, owner(ME))
    assert (child["params"], child["parent"]) == (run.job.params, run.id)
    with pytest.raises(gr.Error, match="not yours"):
        handler(blocks, "on_clone")(run.id, YOU)


def test_what_can_not_be_is_off_and_says_so(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune, "why_not", lambda method, adapter: "it is dark" if adapter == "ia3" else "")
    page = next(part.html_template for part in drawn(tune.build, lab).blocks.values() if part.elem_id == "tune-grid")
    assert page.count("disabled") == len(tune.METHODS)
    assert page.count("it is dark") == 2 * len(tune.METHODS)
    assert 'value="sft/lora" aria-label="Supervised fine-tuning with LoRA" ${' in page


def test_the_code_is_there_before_the_run(lab: Lab) -> None:
    blocks = drawn(tune.build, lab)
    update = handler(blocks, "on_code")(ME, *form(blocks, sft_max_steps="5"))
    compile(update["value"], "script.py", "exec")
    assert "5" in update["value"]
