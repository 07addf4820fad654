"""Each endpoint, by a real client, over a real server; only the engine and the runs are scripted."""

from __future__ import annotations

import ast
import asyncio
import json
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from backend import events as ev
from backend.engines.picture import settings_of
from backend.starter import MODEL_ID
from tests.tiny_images import tiny_lora
from tests.ui.scripted import served

TABLE: dict[str, list[tuple[str, Any]]] = {  # the promise: inputs in order with their defaults, ... is required
    "/chat": [
        ("message", ...),
        ("history", []),
        ("model", ""),
        ("adapter", ""),
        ("system", ""),
        ("max_new_tokens", 256),
        ("temperature", 0.7),
        ("top_p", 0.95),
        ("seed", 0),
        ("json_schema", ""),
        ("exact", False),
    ],
    "/image": [
        ("prompt", ...),
        ("model", ""),
        ("steps", None),
        ("guidance", None),
        ("width", 0),
        ("height", 0),
        ("seed", 0),
        ("adapters", []),
    ],
    "/task": [("task", ...), ("inputs", {}), ("model", "")],
    "/rows": [("dataset", ""), ("config", ""), ("split", ""), ("offset", 0), ("length", 50), ("revision", "")],
    "/stats": [("dataset", ""), ("config", ""), ("split", ""), ("column", ""), ("revision", "")],
    "/sql": [("dataset", ""), ("config", ""), ("split", ""), ("query", ""), ("revision", "")],
    "/upload": [("file", ...)],
    "/launch": [("recipe", ...), ("params", {}), ("target", "local")],
    "/run": [("run_id", ...)],
    "/events": [("run_id", ...), ("after", 0)],
    "/runs": [],
    "/cancel": [("run_id", ...), ("save", True)],
    "/resume": [("run_id", ...)],
}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("api")) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[Client]:
    one = Client(url, verbose=False)
    yield one
    one.close()


@pytest.fixture
def other(url: str) -> Iterator[Client]:
    one = Client(url, verbose=False)
    yield one
    one.close()


def test_these_endpoints_and_no_others(client):
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    told = {
        name: [
            (p["parameter_name"], p["parameter_default"] if p["parameter_has_default"] else ...)
            for p in one["parameters"]
        ]
        for name, one in named.items()
    }
    assert told == TABLE
    assert client.view_api(return_format="dict", print_info=False)["unnamed_endpoints"] == {}
    assert all(one["description"] for one in named.values())


def test_chat_streams_the_text_so_far(client):
    told = "one two three four five six seven eight nine ten " * 5
    seen = list(client.submit(told, api_name="/chat"))
    assert len(seen) > 2
    assert all(later.startswith(earlier) for earlier, later in pairwise(seen))
    assert seen[-1].split() == told.split()


def test_chat_hands_everything_on(client):
    history = [{"role": "user", "content": "hi <b>"}, {"role": "assistant", "content": "&lt;b"}]
    answer = client.predict("asked", history, "", "", "be brief", 7, 0.0, 0.5, 3, api_name="/chat")
    assert json.loads(answer) == {
        "messages": [*history, {"role": "user", "content": "asked"}], "model": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "adapter": "", "system": "be brief", "max_new_tokens": 7, "temperature": 0.0, "top_p": 0.5, "seed": 3,
        "json_schema": "", "exact": False,
    }  # fmt: skip


def test_image_gives_a_file_that_carries_what_was_asked(client, other):
    file = client.predict("a red cat", steps=3, guidance=2.5, width=64, seed=7, api_name="/image")
    told = settings_of(file)
    assert told["prompt"] == "a red cat"
    assert (told["model"], told["steps"], told["guidance"], told["seed"]) == ("atelier/emoji-64", 3, 2.5, 7)
    assert Path(client.predict("another", api_name="/image")).suffix == ".png"
    with pytest.raises(AppError, match="steps is 10000; use at most 200"):
        other.predict("a red cat", steps=10_000, api_name="/image")


def test_cancelling_a_chat_frees_the_engine(client):
    before = int(client.predict("closed", api_name="/chat"))
    job = client.submit("forever", max_new_tokens=100_000, api_name="/chat")
    while not job.outputs():
        time.sleep(0.02)
    job.cancel()
    deadline = time.monotonic() + 3
    while int(client.predict("closed", api_name="/chat")) == before:
        assert time.monotonic() < deadline, "the answer goes on"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"message": " "}, r"The message is empty; write something first\."),
        ({"message": "x", "history": [{"role": "user"}]}, r"history holds .* not a turn.*role"),
        (
            {"message": "x", "model": "no such model!"},
            r"'no such model!' is neither a Hub id nor a folder\. Write it as",
        ),
        ({"message": "x", "adapter": "run/none"}, r"none"),
        ({"message": "die"}, r"The engine is gone\. Send it again\."),
        ({"message": "cut", "json_schema": "{}"}, r"cut after 1 tokens, so its JSON is incomplete\. Raise max_new"),
    ],
)
def test_chat_says_what_is_wrong(client, arguments, message):
    with pytest.raises(AppError, match=message):
        client.predict(**arguments, api_name="/chat")


@pytest.mark.parametrize("params", [{"max_steps": 3}, '{"max_steps": 3}'])
def test_a_run_is_launched_followed_and_listed(client, params):
    run = client.predict("sft", params, "fake", api_name="/launch")
    status = client.predict(run, api_name="/run")
    assert (status["id"], status["recipe"], status["state"], status["target"]) == (run, "sft", "finished", "fake")
    assert {"progress", "metrics", "artifacts", "error"} <= status.keys()
    first = client.predict(run, api_name="/events")
    assert [ev.parse(json.dumps(one)) for one in first["events"]][-1].ends
    assert client.predict(run, first["cursor"], api_name="/events") == {"events": [], "cursor": first["cursor"]}
    assert client.predict(api_name="/runs")[0]["id"] == run
    assert client.predict(run, api_name="/cancel") == "finished"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nope", {}, "fake"), "no recipe 'nope'.*sft"),
        (("sft", {}, "moon"), "no target 'moon'.*fake"),
        (("sft", {"max_steps": 0}, "fake"), "max_steps is 0"),
        (("sft", "[1]", "fake"), "params is list; it must be a JSON object"),
        (("sft", "{max", "fake"), "params is not JSON"),
    ],
)
def test_launch_says_what_is_wrong(client, arguments, message):
    with pytest.raises(AppError, match=message):
        client.predict(*arguments, api_name="/launch")


def test_a_client_keeps_its_runs_and_another_is_told_not_yours(client, other):
    run = client.predict("sft", {"max_steps": 3}, "fake", api_name="/launch")
    assert run in [one["id"] for one in client.predict(api_name="/runs")]
    assert other.predict(api_name="/runs") == []
    for endpoint in ("/run", "/events", "/cancel", "/resume"):
        with pytest.raises(AppError, match="not yours"):
            other.predict(run, api_name=endpoint)


def test_a_call_without_any_session_owns_only_itself(url):
    def call(endpoint: str, data: list[Any]) -> str:
        event = httpx.post(f"{url}/gradio_api/call/{endpoint}", json={"data": data}).json()["event_id"]
        return httpx.get(f"{url}/gradio_api/call/{endpoint}/{event}", timeout=30).text

    assert "complete" in call("launch", ["sft", {"max_steps": 3}, "fake"])
    assert call("runs", []).split("data: ")[1].strip() == "[[]]"


def test_an_upload_is_the_callers_own(client, tmp_path: Path):
    file = tmp_path / "my rows.jsonl"
    file.write_text('{"messages": []}\n')
    dataset = client.predict(handle_file(str(file)), api_name="/upload")
    assert dataset.startswith("upload/")
    assert dataset.endswith("my rows.jsonl")


def test_resume_says_why_not(client):
    run = client.predict("sft", {"max_steps": 3}, "fake", api_name="/launch")
    with pytest.raises(AppError, match="is finished; only a stopped run"):
        client.predict(run, api_name="/resume")


def test_a_dataset_is_paged_described_and_asked(client, other, tmp_path: Path):
    file = tmp_path / "people.csv"
    file.write_text("name,age\nAda,36\nBob <b>,\n")
    dataset = client.predict(handle_file(str(file)), api_name="/upload")
    page = client.predict(dataset, "", "", 1, 1, api_name="/rows")
    assert [column["name"] for column in page.pop("columns")] == ["name", "age"]
    assert page == {"rows": [["Bob <b>", None]], "total": 2, "partial": ""}
    figures = client.predict(dataset, "", "", "age", api_name="/stats")
    assert (figures["nulls"], figures["min"], figures["max"]) == (1, 36, 36)
    answer = client.predict(dataset, query="SELECT max(age) AS most FROM data", api_name="/sql")
    assert {"columns", "rows", "truncated", "seconds"} == answer.keys()
    assert (answer["rows"], answer["truncated"]) == ([[36]], False)
    for endpoint in ("/rows", "/stats", "/sql"):
        with pytest.raises(AppError, match=r"no upload .* of yours"):
            other.predict(dataset, api_name=endpoint)


@pytest.mark.parametrize(
    ("endpoint", "arguments", "message"),
    [
        ("/rows", {"length": 101}, "length is 101; ask for 1 to 100 rows"),
        ("/rows", {"dataset": "upload/none"}, "no upload 'upload/none' of yours"),
        ("/stats", {"column": "nope"}, "no column 'nope'.*prompt"),
        ("/sql", {"query": "SELECT * FROM read_csv('/etc/passwd')"}, "read_csv.* is not allowed here"),
    ],
)
def test_data_says_what_is_wrong(client, endpoint, arguments, message):
    with pytest.raises(AppError, match=message):
        client.predict(**arguments, api_name=endpoint)


async def tools(url: str, *calls: tuple[str, dict[str, Any]], token: str = "") -> list[Any]:
    """The list of tools, then what each call of (tool, arguments) gives, by the protocol's own client."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        httpx.AsyncClient(headers=headers, timeout=60) as http,
        streamable_http_client(f"{url}/gradio_api/mcp/", http_client=http) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        return [(await session.list_tools()).tools, *[await session.call_tool(*call) for call in calls]]


def asked(answers: Coroutine[Any, Any, list[Any]]) -> list[Any]:
    """What `tools` gives; in a thread of its own, for a browser that is open has its event loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, answers).result()


def test_every_endpoint_is_a_tool_that_says_what_it_does(url):
    (found,) = asked(tools(url))
    assert {tool.name for tool in found} == {name.removeprefix("/") for name in TABLE}
    for tool in found:
        fields = tool.inputSchema["properties"]
        assert tool.description, tool.name
        assert list(fields) == [name for name, _ in TABLE[f"/{tool.name}"]]
        assert all(field.get("description") for field in fields.values()), tool.name


def test_another_programs_model_chats_reads_and_runs(url):
    chat, rows = ("chat", {"message": "well said"}), ("rows", {"length": 2})
    launch = ("launch", {"recipe": "sft", "params": {"max_steps": 3}, "target": "fake"})
    image = ("image", {"prompt": "a red cat"})
    _, said, page, launched, drawn = asked(tools(url, chat, rows, launch, image, token="ann"))
    assert (drawn.content[0].type, drawn.content[0].mimeType) == ("image", "image/png")
    assert said.content[0].text.strip() == "well said"
    assert ast.literal_eval(page.content[0].text)["rows"][1]
    run = ("run", {"run_id": launched.content[0].text})
    _, status = asked(tools(url, run, token="ann"))
    assert ast.literal_eval(status.content[0].text)["state"] == "finished"
    _, strange, wrong = asked(tools(url, run, ("chat", {"message": " "}), token="bob"))
    assert strange.isError
    assert "not yours" in strange.content[0].text
    assert "The message is empty" in wrong.content[0].text


def test_a_task_is_done_and_files_of_the_server_are_not_read(client):
    done = client.predict("summarization", {"text": "long"}, api_name="/task")
    assert done["asked"] == {"text": "long", "model": MODEL_ID, "adapter": ""}
    for inputs, message in (('{"text"', "inputs is not JSON"), ([1], "inputs is list; it must be a JSON object")):
        with pytest.raises(AppError, match=message):
            client.predict("summarization", inputs, api_name="/task")
    for name in ("nope", "image-classification"):
        with pytest.raises(AppError, match=f"no task '{name}' of texts.*summarization"):
            client.predict(name, {"file": "/etc/passwd"}, api_name="/task")


@pytest.mark.long
def test_two_who_draw_at_once_get_what_each_would_alone(server: Any, tiny_image: Path, tmp_path: Path) -> None:
    """Over HTTP, with the real engine: one model, different adapters, pictures pixel for pixel."""
    worn = [[{"name": str(tiny_lora(tmp_path / f"lora{seed}", tiny_image, seed)), "weight": 1}] for seed in (0, 1)]
    url = f"http://127.0.0.1:{server().port}"
    visitors = [Client(url, verbose=False) for _ in worn]

    def draw(who: int, seed: int) -> np.ndarray:
        file = visitors[who].predict(
            "a red cat", model=str(tiny_image), steps=6, seed=seed, adapters=worn[who], api_name="/image"
        )
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB")).astype(int)

    alone = {(who, seed): draw(who, seed) for who in (0, 1) for seed in range(4)}
    assert abs(alone[0, 0] - alone[1, 0]).mean() > 0.5
    with ThreadPoolExecutor(8) as pool:
        together = {key: pool.submit(draw, *key) for _ in range(3) for key in alone}
        for key, one in together.items():
            assert (one.result(timeout=120) == alone[key]).all(), key
