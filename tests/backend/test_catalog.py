"""Names and what they stand for; the Hub is a small server here, asked by the real client."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from backend.catalog import Catalog
from backend.errors import BadInput, Gated, HubError, NotFound
from backend.jobs import Job
from backend.settings import Settings
from backend.starter import EMBEDDER_ID, MODEL_ID
from backend.store import Store


@pytest.fixture
def catalog(home, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return Catalog(Settings.read({"ATELIER_HOME": str(home)}), Store(home))


@pytest.fixture
def hub(monkeypatch):
    """Paths that were asked for; the Hub knows `org/chat` and `org/gated`, and any search finds the first."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

        def do_HEAD(self) -> None:
            self.answer(200, {})

        def do_GET(self) -> None:
            asked.append(self.path)
            where = urlsplit(self.path)
            chat = {"id": "org/chat", "modelId": "org/chat", "sha": "a" * 40, "downloads": 1234, "private": False}
            chat |= {"tags": [], "siblings": []}
            if where.path == "/api/models":
                self.answer(200, [chat] if parse_qs(where.query).get("search") else [])
            elif where.path in ("/api/models/org/chat", "/api/datasets/org/chat"):
                self.answer(200, chat)
            elif where.path.endswith("org/gated"):
                self.answer(403, {}, "GatedRepo")
            else:
                self.answer(404, {}, "RepoNotFound")

        def answer(self, status: int, body: object, code: str = "") -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            if code:
                self.send_header("X-Error-Code", code)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield asked
    server.shutdown()
    thread.join()
    server.server_close()


def model_folder(place: Path, config: str = '{"model_type": "llama"}') -> Path:
    place.mkdir(parents=True)
    (place / "config.json").write_text(config)
    return place


def test_the_starter_comes_first_and_needs_nobody(catalog):
    assert catalog.models()[0].name == MODEL_ID
    assert catalog.model("") == catalog.model(MODEL_ID) == MODEL_ID


def test_models_of_the_data_folder(catalog, home):
    place = model_folder(home / "models" / "mine")
    assert "models/mine" in [entry.name for entry in catalog.models()]
    assert catalog.model("models/mine") == catalog.model(str(place)) == str(place)
    model_folder(home / "models" / "broken", "{")
    with pytest.raises(BadInput, match=r"config\.json that transformers can't read"):
        catalog.model("models/broken")
    with pytest.raises(NotFound, match="'models/none' is not a model folder"):
        catalog.model("models/none")


def test_what_answers_is_a_model_perhaps_with_an_adapter(catalog, home):
    from backend.jobs import Job

    run = catalog.store.add(Job("sft", {"model": MODEL_ID}, "local", "ann"), {})
    folder = run.folder / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    assert catalog.answerer("", "ann") == MODEL_ID
    assert catalog.answerer(f"run/{run.id}", "ann") == f"{MODEL_ID} + {folder}"
    assert catalog.answerer(f"{MODEL_ID} + run/{run.id}", "ann") == f"{MODEL_ID} + {folder}"
    with pytest.raises(NotFound, match="of yours"):
        catalog.answerer(f"run/{run.id}", "bob")


def test_search_asks_the_hub(catalog, hub):
    assert [entry.name for entry in catalog.models("chat")] == ["org/chat"]
    assert catalog.models("chat")[0].note == "1,234 downloads"
    assert "search=chat" in hub[0]
    assert "text-generation" in hub[0]


def test_a_name_is_checked_on_the_hub(catalog, hub):
    assert catalog.model("org/chat") == "org/chat"
    assert catalog.dataset("org/chat", "ann") == "org/chat"
    with pytest.raises(NotFound, match="no 'org/none'"):
        catalog.model("org/none")
    with pytest.raises(Gated, match="'org/gated' is gated"):
        catalog.model("org/gated")


def test_what_is_in_the_cache_needs_no_hub(catalog, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    snapshot = tmp_path / "cache" / "models--org--kept" / "snapshots" / ("a" * 40)
    model_folder(snapshot)
    (snapshot / "model.safetensors").write_bytes(b"x")
    refs = tmp_path / "cache" / "models--org--kept" / "refs"
    refs.mkdir()
    (refs / "main").write_text("a" * 40)
    assert ("org/kept", "cache") in [(entry.name, entry.source) for entry in catalog.models()]
    assert catalog.model("org/kept") == "org/kept"
    with pytest.raises(HubError, match="'org/other' is not on this machine"):
        catalog.model("org/other")


def test_a_silent_hub_is_left_alone_for_a_while(catalog, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nobody listens
    start = time.monotonic()
    assert catalog.models("chat") == []
    with pytest.raises(HubError, match="can't be reached"):
        catalog.model("org/chat")
    assert time.monotonic() - start < 5, "its client alone would try for half a minute"


def test_models_are_filtered_by_task(catalog):
    from backend.engines.tasks import TASKS

    folder = catalog.settings.home / "models" / "gaps"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"architectures": ["BertForMaskedLM"], "model_type": "bert"}')
    names = {task: [entry.name for entry in catalog.models(task=task)] for task in TASKS}
    assert names["fill-mask"][0] == "models/gaps"
    assert "models/gaps" not in names["summarization"]
    assert names["summarization"][0] == MODEL_ID
    assert names["sentence-similarity"][0] == EMBEDDER_ID
    assert names["image-classification"] == list(TASKS["image-classification"].suggested)


def test_a_whole_model_that_a_run_made_is_its_owners_to_choose(catalog):
    """A merged one, or one all of whose weights were trained; an adapter alone is none."""
    run = catalog.store.add(Job("merge", {"run": "run/x"}, "local", "ann"), {})
    other = catalog.store.add(Job("sft", {"model": MODEL_ID}, "local", "ann"), {})
    (other.folder / "adapter").mkdir()
    (other.folder / "adapter" / "adapter_config.json").write_text("{}")
    with pytest.raises(NotFound, match="has made no whole model"):
        catalog.model(f"run/{run.id}", "ann")
    (run.folder / "model").mkdir()
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    (run.folder / "model" / "config.json").write_text(json.dumps(config))
    assert catalog.model(f"run/{run.id}", "ann") == str(run.folder / "model")
    assert catalog.answerer(f"run/{run.id}", "ann") == str(run.folder / "model")
    assert catalog.answerer(f"run/{other.id}", "ann") == f"{MODEL_ID} + {other.folder / 'adapter'}"
    assert [entry.name for entry in catalog.models(owner="ann")] == [MODEL_ID, f"run/{run.id}"]
    assert [entry.name for entry in catalog.models(owner="bob")] == [MODEL_ID]
    with pytest.raises(NotFound, match="no run"):
        catalog.model(f"run/{run.id}", "bob")
