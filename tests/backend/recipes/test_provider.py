"""A model at a provider, played by a small OpenAI-compatible server and asked by the real client."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.inference._providers._common import AutoRouterConversationalTask

from backend import events as ev
from backend.errors import BadInput, Gated, HubError, NotFound
from backend.recipes import RECIPES, evaluate, provider
from backend.recipes.answering import Interrupted
from backend.recipes.params import check
from backend.recipes.provider import Provider
from backend.settings import LENT_TOKEN
from tests.backend.recipes.test_evaluate import ran

TOKEN = "hf_lent_for_this_test"
MODEL = "org/big:fast"


class Router:
    def __init__(self) -> None:
        self.address = ""
        self.asked: list[dict[str, Any]] = []
        self.tokens: set[str] = set()
        self.busy = 0  # so many requests are refused before one is answered
        self.status = 200


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> Iterator[Router]:
    state = Router()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            price = {"input": 100.0, "output": 200.0}
            self.whole(200, {"data": [{"id": "org/big", "providers": [{"provider": "fast", "pricing": price}]}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.asked.append(body)
            state.tokens.add(self.headers["Authorization"])
            word = body["messages"][-1]["content"]
            if state.status != 200 or word == "odd":
                self.whole(422 if word == "odd" else state.status, {"error": {"message": "no"}})
            elif state.busy:
                state.busy -= 1
                self.whole(429, {"error": {"message": "slowly"}})
            else:
                message = {"role": "assistant", "content": f" {word.upper()} {body.get('seed')}"}
                usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
                choice = {"index": 0, "finish_reason": "stop", "message": message}
                whole = {"id": "1", "created": 1, "model": "m", "system_fingerprint": "", "object": "x"}
                self.whole(200, whole | {"choices": [choice], "usage": usage})

        def whole(self, status: int, given: Any) -> None:
            body = json.dumps(given).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state.address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(AutoRouterConversationalTask, "_prepare_base_url", lambda self, api_key: state.address)
    monkeypatch.setattr(provider, "ROUTER", f"{state.address}/v1")
    monkeypatch.setattr(provider, "_AGAIN", (0.0, 0.0))
    monkeypatch.setenv(LENT_TOKEN, TOKEN)
    yield state
    server.shutdown()
    server.server_close()


def answers(router: Router, *prompts: str, stopped: bool = False, **how: Any) -> list[dict[str, Any]]:
    asked = Provider(MODEL, lambda: stopped)
    found = dict(pair for batch in asked.answers(prompts, 9, **how) for pair in batch)
    asked.close()
    return [found[place] for place in range(len(prompts))]


def test_answers_with_their_price_and_the_token_in_the_header_alone(router: Router) -> None:
    found = answers(router, "one", "two", temperature=0.7, seeds=[4, 5])
    assert [row["answer"] for row in found] == ["ONE 4", "TWO 5"]
    assert found[0]["tokens"] == 5
    assert found[0]["dollars"] == pytest.approx((10 * 100 + 5 * 200) / 1e6)
    assert router.tokens == {f"Bearer {TOKEN}"}
    assert TOKEN not in json.dumps(router.asked)
    assert {(one["max_tokens"], one["temperature"]) for one in router.asked} == {(9, 0.7)}


def test_a_busy_provider_is_asked_again_and_a_row_that_it_refuses_fails_alone(router: Router) -> None:
    router.busy = 2
    assert answers(router, "one")[0]["answer"] == "ONE 0"
    good, bad = answers(router, "one", "odd")
    assert good["answer"] == "ONE 0"
    assert "HfHubHTTPError" in bad["error"] or "BadRequest" in bad["error"]
    router.busy = 99
    assert "error" in answers(router, "one")[0]


@pytest.mark.parametrize(("status", "kind"), [(401, Gated), (402, HubError), (404, NotFound)])
def test_what_befalls_every_row_ends_the_run(router: Router, status: int, kind: type[Exception]) -> None:
    router.status = status
    with pytest.raises(kind, match=f"{status}|No provider offers"):
        answers(router, "one")


def test_stop_and_no_token(router: Router, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Interrupted):
        answers(router, "one", stopped=True)
    monkeypatch.delenv(LENT_TOKEN)
    with pytest.raises(Gated, match="your sign-in has not reached this run"):
        answers(router, "one")


def test_an_evaluation_asks_it_with_several_seeds(router: Router, capsys: Any, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    rows = [{"prompt": f"q{n}", "completion": f"Q{n} {7 * 1_000_003 + n + 1}"} for n in range(4)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    events, told = ran(
        capsys, tmp_path / "run", models=[MODEL], dataset=str(data), metrics="exact_match, cost", temperature=0.5,
        seeds=2, seed=7,
    )  # fmt: skip
    assert isinstance(events[-1], ev.Finished), events[-1]
    by = {one["figure"]: one for one in told["figures"]}
    assert by["exact_match"]["seeds"] == [1.0, 0.0]  # what is asked with the first seed fits, with the second not
    assert by["exact_match"]["value"] == 0.5
    assert by["cost"]["value"] == pytest.approx(2.0)  # dollars for 1,000
    assert told["models"][0]["dollars"] == pytest.approx(8 * 0.002)
    assert "memory_gb" not in told["models"][0]
    assert TOKEN not in "".join(path.read_text() for path in (tmp_path / "run").rglob("*.json*"))


@pytest.mark.parametrize("values", [{"metrics": "perplexity"}, {"dataset": "sample/preferences"}])
def test_what_needs_likelihoods_is_refused_before_the_run(values: dict[str, Any]) -> None:
    with pytest.raises(BadInput, match="org/big:fast runs at a provider, which tells no likelihoods"):
        RECIPES["evaluate"].preflight(check(evaluate.Params, {"models": [MODEL]} | values))
