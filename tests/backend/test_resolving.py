import json

import pytest

from backend.engines.client import EngineProcess
from backend.errors import BadData, BadInput, LabError
from backend.lab import Lab
from backend.settings import Settings
from backend.store import Store
from backend.targets.fake import Fake


@pytest.mark.parametrize(
    ("recipe", "params", "target", "message"),
    [
        ("nope", {}, "fake", "no recipe 'nope'"),
        ("sft", {}, "moon", "no target 'moon'"),
        ("sft", {"max_steps": 0}, "fake", "max_steps is 0; use at least 1"),
        ("sft", {"max_steps": -5}, "fake", "max_steps is -5"),
        ("sft", {"max_steps": 10**12}, "fake", "max_steps is 1000000000000"),
        ("sft", {"learning_rate": "fast"}, "fake", "learning_rate is 'fast'"),
        ("sft", {"steps": 3}, "fake", "steps"),
        ("sft", {"model": "no/such-model"}, "fake", "no/such-model"),
        ("sft", {"model": "a b c"}, "fake", "'a b c' is neither a Hub id nor a folder"),
        ("sft", {"model": "/no/such/folder"}, "fake", "'/no/such/folder' is not a model folder"),
        ("sft", {"dataset": "sample/nope"}, "fake", "no sample 'sample/nope'"),
        ("sft", {"dataset": "upload/abc/x.jsonl"}, "fake", "no upload 'upload/abc/x.jsonl' of yours"),
        ("sft", {"dataset": "/no/such.jsonl"}, "fake", "no file '/no/such.jsonl'"),
        ("sft", {"adapter": "glue"}, "fake", "glue"),
    ],
)
def test_bad_requests_are_answered_before_anything_is_made(lab, recipe, params, target, message, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(LabError) as caught:
        lab.launch(recipe, params, "ann", target)
    assert message in str(caught.value)
    assert caught.value.hint or "use " in caught.value.message, "says what to do next"
    assert lab.runs("ann") == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.jsonl", b"", "empty"),
        ("picture.jsonl", b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "picture.jsonl"),
        ("page.csv", b"<!doctype html><html><body>404</body></html>", "page.csv"),
        ("not.parquet", b"a,b\n1,2\n", "not.parquet"),
        ("one.jsonl", b'{"prompt": "a", "completion": "b"}\n', "1 row"),
        ("other.jsonl", b'{"a": "x"}\n{"a": "y"}\n', "a"),
        ("types.jsonl", b'{"prompt": "a", "completion": "b"}\n{"prompt": 5, "completion": "b"}\n', "2"),
    ],
)
def test_bad_files_are_told_before_the_run(lab, tmp_path, name, content, message, launch):
    (tmp_path / name).write_bytes(content)
    dataset = lab.upload("ann", tmp_path / name)
    with pytest.raises(BadData) as caught:
        launch(dataset=dataset)
    assert message in str(caught.value)
    assert lab.runs("ann") == []
    assert lab.store.uploaded(dataset, "ann").read_bytes() == content, "the file is still there"


def test_on_a_shared_server_paths_are_not_read(home, tmp_path):
    settings = Settings.read({"ATELIER_HOME": str(home), "GRADIO_SERVER_NAME": "0.0.0.0"})
    lab = Lab(settings, Store(home), (Fake(),), EngineProcess(env={}))
    for params in ({"model": "/etc"}, {"dataset": "/etc/passwd"}):
        with pytest.raises(BadInput, match="paths are not read"):
            lab.launch("sft", params, "ann", "fake")


def test_a_cell_that_is_off_says_why(lab, monkeypatch):
    monkeypatch.setattr("backend.resolving.why_not", lambda method, adapter: "it is dark")
    with pytest.raises(BadInput, match="dpo can't train ia3 here: it is dark"):
        lab.launch("dpo", {"adapter": "ia3"}, "ann", "fake")


def test_a_reward_is_a_name_or_a_run_of_ones_own(lab, launch):
    judge = launch()
    (judge.folder / "adapter").mkdir()
    entries = {"peft_type": "LORA", "task_type": "SEQ_CLS", "base_model_name_or_path": "x"}
    (judge.folder / "adapter" / "adapter_config.json").write_text(json.dumps(entries))

    def asked(reward, owner="ann"):
        run = lab.launch("ppo", {"reward": reward}, owner, "fake")
        return run.job.params["reward"], json.loads((run.folder / "params.json").read_text())["reward"]

    assert asked("length:12") == ("length:12", "length:12")
    assert asked(f"run/{judge.id}") == (f"run/{judge.id}", str(judge.folder / "adapter"))
    assert {judge.id: "reward"} in [one["sources"] for one in lab.lineage(judge.id, "ann")]
    with pytest.raises(LabError):
        asked(f"run/{judge.id}", "bob")
    entries["task_type"] = "CAUSAL_LM"
    (judge.folder / "adapter" / "adapter_config.json").write_text(json.dumps(entries))
    with pytest.raises(BadInput, match="not one that scores"):
        asked(f"run/{judge.id}")
