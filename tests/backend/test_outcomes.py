"""What a run made, to take away, over pretend runs; the Hub is a server on this machine."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from backend import events as ev
from backend.engines.client import EngineProcess
from backend.errors import BadInput, Gated, NotFound, NotYours
from backend.jobs import Run
from backend.lab import Lab
from backend.settings import Settings
from backend.store import Store
from backend.targets.fake import Fake
from tests import localhub

ROWS = [{"prompt": "Capital of Italy?", "base": "It is | Rome.", "answer": "Rome", "reference": "Rome"}]


def made(run: Run) -> list[ev.Event]:
    """A run of five steps that leaves an adapter."""
    (run.folder / "adapter").mkdir(exist_ok=True)
    (run.folder / "adapter" / "adapter_config.json").write_text('{"peft_type": "LORA", "task_type": "CAUSAL_LM"}')
    (run.folder / "adapter" / "adapter_model.safetensors").write_bytes(b"\0" * 1000)
    return [
        ev.Started(info={"precision": "fp32"}),
        ev.Logged(text="120 rows to learn from, 16 held out; data: prompt-completion, chat."),
        *(ev.Measured(step=step, values={"loss": 4.0 - step * 0.5, "epoch": 1.0}) for step in range(1, 6)),
        ev.Measured(step=5, values={"eval_loss": 1.75}),
        ev.Produced(kind="samples", name="samples", step=5, data={"rows": ROWS}),
        ev.Produced(kind="adapter", name="adapter", file="adapter", step=5),
        ev.Finished(values={"steps": 5, "train_loss": 2.5}),
    ]


@pytest.fixture
def lab(home: Path) -> Lab:
    settings = Settings.read({"ATELIER_HOME": str(home)})
    return Lab(settings, Store(home), (Fake(made),), EngineProcess(env={}))


def launch(lab: Lab, **params: Any) -> str:
    return lab.launch("sft", params, "ann", "fake").id


def test_the_card_tells_the_run(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 20)
    text = lab.outcomes.card(launch(lab, dataset=str(tmp_path / "mine.jsonl"), learning_rate=0.002), "ann")
    front, body = text.removeprefix("---\n").split("\n---\n", 1)
    assert "base_model: HuggingFaceTB/SmolLM2-135M-Instruct" in front
    assert "license: apache-2.0" in front
    assert "library_name: peft" in front
    assert str(tmp_path) not in text
    for words in (
        "`mine.jsonl`. 120 rows to learn from, 16 held out.",
        "| loss | 3.5 | `█▆▅▃▁` | 1.5 | 5 |",
        "| eval_loss | 1.75 |",
        "| Capital of Italy? | It is \\| Rome. | Rome | Rome |",
        "| learning_rate | 0.002 |",
        "apache-2.0",
    ):
        assert words in body


def test_the_card_tells_where_it_comes_from(lab: Lab) -> None:
    first = launch(lab)
    second = launch(lab, start_from=f"run/{first}")
    text = lab.outcomes.card(second, "ann")
    assert (
        f"- {first}: sft on `sample/instructions`\n- {second}: sft on `sample/instructions` (start_from {first})"
        in text
    )


def test_a_merged_model_has_the_card_of_the_run_that_trained_it(lab: Lab) -> None:
    run = launch(lab, learning_rate=0.002)

    def merged(one: Run) -> list[ev.Event]:
        (one.folder / "model").mkdir()
        (one.folder / "model" / "config.json").write_text("{}")
        return [ev.Started(), ev.Produced(kind="model", name="model", file="model"), ev.Finished()]

    lab.targets["fake"].script = merged  # type: ignore[attr-defined]
    merge = lab.launch("merge", {"run": f"run/{run}"}, "ann", "fake")
    text = lab.outcomes.card(merge.id, "ann")
    assert "merged into its weights, trained by supervised fine-tuning" in text
    assert 'model = AutoModelForCausalLM.from_pretrained("THIS_REPOSITORY")' in text
    assert "| learning_rate | 0.002 |" in text
    assert f"- {merge.id}: merge (run {run})" in text
    assert "config.json" in [f["name"] for f in lab.outcomes.files(merge.id, "ann")]


def test_a_zip_holds_it_all(lab: Lab) -> None:
    run = launch(lab)
    files = lab.outcomes.files(run, "ann")
    with zipfile.ZipFile(lab.outcomes.zip(run, "ann")) as file:
        assert file.testzip() is None
        assert {info.filename: info.file_size for info in file.infolist()} == {f["name"]: f["bytes"] for f in files}
        assert file.read("README.md").decode() == lab.outcomes.card(run, "ann")
        compile(file.read("train.py"), "train.py", "exec")
        assert json.loads(file.read("train.ipynb"))["nbformat"] == 4
    assert [f["name"] for f in files[:2]] == ["adapter_config.json", "adapter_model.safetensors"]


def test_nothing_is_taken_from_a_run_that_made_nothing_or_is_anothers(lab: Lab) -> None:
    run = launch(lab)
    for ask in (lab.outcomes.zip, lab.outcomes.card, lab.outcomes.notebook, lab.outcomes.files):
        with pytest.raises(NotYours):
            ask(run, "bob")
    lab.targets["fake"].script = lambda run: [ev.Started(), ev.Cancelled()]  # type: ignore[attr-defined]
    with pytest.raises(NotFound, match="has made nothing yet"):
        lab.outcomes.zip(launch(lab), "ann")


@contextmanager
def hub(monkeypatch: pytest.MonkeyPatch, status: int = 200) -> Iterator[list[tuple[str, Any, str]]]:
    """The Hub as far as a push sees it: (path, body, token) of each request.

    Weights are asked for the way of large files, as the Hub does; what is stored so comes as ("PUT", bytes, "").
    """
    from huggingface_hub import constants

    seen: list[tuple[str, Any, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
            told = [json.loads(line) for line in body.splitlines()]
            seen.append((self.path, told, str(self.headers["Authorization"])))
            if status != 200:
                self.answer({"error": "no"}, status)
            elif "/preupload/" in self.path:
                ways = {f["path"]: "lfs" if f["path"].endswith(".safetensors") else "regular" for f in told[0]["files"]}
                files = [{**f, "uploadMode": ways[f["path"]], "shouldIgnore": False} for f in told[0]["files"]]
                self.answer({"files": files})
            elif "/info/lfs/objects/batch" in self.path:
                objects = [{**o, "actions": {"upload": {"href": f"{address}/bucket"}}} for o in told[0]["objects"]]
                self.answer({"transfer": "basic", "objects": objects})
            elif "/commit/" in self.path:
                self.answer({"commitUrl": f"{address}/ann/new/commit/1", "commitOid": "1" * 40, "success": True})
            else:
                self.answer({"url": f"{address}/ann/new"})

        def do_PUT(self) -> None:
            seen.append(("PUT", self.rfile.read(int(self.headers["Content-Length"])), ""))
            self.answer({})

        def answer(self, value: Any, status: int = 200) -> None:
            text = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # its storage speaks no plain HTTP
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")  # huggingface_hub's own way to send a large file
def test_a_push_brings_what_the_zip_holds(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    run = launch(lab)
    with hub(monkeypatch) as seen:
        assert lab.outcomes.push(run, "ann", "ann/new", "hf_secret").endswith("/ann/new")
    assert {token for way, _, token in seen if way != "PUT"} == {"Bearer hf_secret"}
    created, commit = seen[0], seen[-1]
    assert (created[0], created[1][0]["name"], created[1][0]["visibility"]) == ("/api/repos/create", "new", "private")
    assert commit[0].startswith("/api/models/ann/new/commit/main")
    sent = {
        one["value"]["path"]: base64.b64decode(one["value"]["content"]) for one in commit[1] if one["key"] == "file"
    }
    (stored,) = [body for way, body, _ in seen if way == "PUT"]
    assert stored == b"\0" * 1000
    (large,) = [one["value"] for one in commit[1] if one["key"] == "lfsFile"]
    assert (large["path"], large["oid"]) == ("adapter_model.safetensors", hashlib.sha256(stored).hexdigest())
    assert {name: len(body) for name, body in sent.items()} | {large["path"]: large["size"]} == {
        f["name"]: f["bytes"] for f in lab.outcomes.files(run, "ann")
    }
    assert "hf_secret" not in lab.run(run, "ann").log.read_text()


def test_a_push_that_is_refused_says_why(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    run = launch(lab)
    with pytest.raises(BadInput, match="nobody is signed in"):
        lab.outcomes.push(run, "ann", "ann/new", "")
    with pytest.raises(BadInput, match="no name"):
        lab.outcomes.push(run, "ann", " / ", "hf_secret")
    with hub(monkeypatch, 403), pytest.raises(Gated, match="status 403"):
        lab.outcomes.push(run, "ann", "ann/new", "hf_secret")


def test_a_sweep_is_a_run_for_each_combination(lab: Lab) -> None:
    runs = lab.outcomes.sweep(
        "sft", {"max_steps": 5}, {"learning_rate": [1e-4, 1e-3], "lora_r": [4, 16]}, "ann", "fake"
    )
    told = lab.outcomes.group(runs[0].job.group, "ann")
    assert [run["id"] for run in told] == [run.id for run in runs]
    assert [(run["params"]["learning_rate"], run["params"]["lora_r"], run["params"]["max_steps"]) for run in told] == [
        (1e-4, 4, 5),
        (1e-4, 16, 5),
        (1e-3, 4, 5),
        (1e-3, 16, 5),
    ]
    assert {run["group"] for run in told} == {runs[0].job.group}
    assert lab.outcomes.group(runs[0].job.group, "bob") == []
    assert lab.outcomes.group("", "ann") == []
    curves = lab.outcomes.curves([run.id for run in runs], "ann")
    assert curves[runs[3].id]["loss"] == [(1, 3.5), (2, 3.0), (3, 2.5), (4, 2.0), (5, 1.5)]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "has 0 settings"),
        ({"lora_r": [4, 8], "seed": [1, 2], "max_steps": [1, 2]}, "has 3 settings"),
        ({"lora_r": [4]}, "at least two different"),
        ({"lora_r": [4, 4]}, "at least two different"),
        ({"lora_r": list(range(1, 30))}, "29 runs; use at most 24"),
        ({"lora_r": [4, 0]}, "lora_r is 0; use at least 1"),
    ],
)
def test_a_sweep_with_something_wrong_starts_nothing(lab: Lab, values: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        lab.outcomes.sweep("sft", {}, values, "ann", "fake")
    assert lab.runs("ann") == []


def drew(run: Run) -> list[ev.Event]:
    """A run that taught an image model."""
    (run.folder / "adapter").mkdir(exist_ok=True)
    (run.folder / "adapter" / "pytorch_lora_weights.safetensors").write_bytes(b"\0" * 100)
    (run.folder / "samples" / "step-5").mkdir(parents=True, exist_ok=True)
    (run.folder / "samples" / "step-5" / "1-0.png").write_bytes(b"a picture")
    made = ev.Produced(kind="image_lora", name="adapter", file="adapter", step=5)
    return [ev.Started(), made, ev.Finished(values={"steps": 5})]


@pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")
def test_an_image_lora_is_pushed_as_diffusers_reads_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.targets["fake"].script = drew  # type: ignore[attr-defined]
    run = lab.launch("image_lora", {"num_validation_images": 1}, "ann", "fake").id
    with localhub.serving() as there:
        localhub.here(monkeypatch, there.url)
        lab.outcomes.push(run, "ann", "ann/pip", localhub.ANN)
        sent = there.repositories["models", "ann/pip"].files
    assert {"pytorch_lora_weights.safetensors", "pictures/1-0.png", "README.md", "train.py", "train.ipynb"} <= set(sent)
    card = sent["README.md"].decode()
    assert "library_name: diffusers" in card
    assert "instance_prompt: a sks figure" in card
    assert "url: pictures/1-0.png" in card
    assert "pictures/pipeline of Atelier" in sent["train.ipynb"].decode()
