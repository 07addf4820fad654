"""Providers, played by a small OpenAI-compatible server and asked by the real client."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from huggingface_hub.inference._providers._common import AutoRouterConversationalTask

from backend import events as ev
from backend.engines.remote import Remote, code
from backend.engines.text import ChatParams
from backend.errors import BadInput, Gated, HubError, LabError, NotFound
from backend.recipes.params import check

TOKEN = "hf_secret_of_ann"
MODEL = "org/big:fast"
STATUS = {"unsigned": 401, "broke": 402, "gone": 404, "hurried": 429, "down": 503, "odd": 422}


class Router:
    """What it was asked, and how many of its answers were cut off by the asker."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.tokens: list[str] = []
        self.cut = 0


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Router, Remote]]:
    state = Router()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            price = {"input": 0.2, "output": 0.6}
            fast = {"provider": "fast", "status": "live", "context_length": 4096, "pricing": price}
            rows = [{"id": "org/big", "providers": [fast, {"provider": "off", "status": "error"}]},
                    {"id": "org/free", "providers": [{"provider": "kind", "status": "live"}]}]  # fmt: skip
            self.whole(200, {"data": rows})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            state.asked.append(body)
            state.tokens.append(self.headers["Authorization"])
            word = body["messages"][-1]["content"]
            if word in STATUS:
                self.whole(STATUS[word], {"error": {"message": f"this is {word}"}})
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            try:
                for text in ["one ", "two ", "three"]:
                    self.piece({"choices": [{"index": 0, "delta": {"role": "assistant", "content": text}}]})
                if word == "error":
                    self.piece({"error": {"message": "the model fell over", "type": "server_error"}})
                if word == "stop":
                    return
                while word in ("endless", "silent"):
                    time.sleep(0.05)
                    if word == "endless":
                        self.piece({"choices": [{"index": 0, "delta": {"content": "more "}}]})
                    else:
                        self.wfile.write(b": ping\n\n")
                        self.wfile.flush()
                end = "length" if word == "long" else "stop"
                self.piece({"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": end}]})
                self.piece({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}})
                self.wfile.write(b"data: [DONE]\n\n")
            except OSError:
                state.cut += 1

        def piece(self, given: dict[str, Any]) -> None:
            whole = {"id": "1", "created": 1, "model": "m", "system_fingerprint": "", "object": "x"} | given
            self.wfile.write(f"data: {json.dumps(whole)}\n\n".encode())
            self.wfile.flush()

        def whole(self, status: int, given: Any) -> None:
            body = json.dumps(given).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(AutoRouterConversationalTask, "_prepare_base_url", lambda self, api_key: address)
    yield state, Remote(f"{address}/v1")
    server.shutdown()
    server.server_close()


def ask(remote: Remote, word: str = "hello", token: str = TOKEN, **more: Any) -> list[ev.Event]:
    params = {"model": MODEL, "adapter": "", "messages": [{"role": "user", "content": word}]}
    return list(remote.stream("text", params | more, token))


def test_an_answer_is_the_same_events_as_a_local_one(router):
    state, remote = router
    assert remote.offers("big")[0].name == MODEL
    events = ask(remote, system="be brief", max_new_tokens=9, temperature=0.5, seed=3, top_k=5)
    assert [type(event) for event in events if not isinstance(event, ev.Logged)] == [
        ev.Started, ev.Wrote, ev.Wrote, ev.Wrote, ev.Measured, ev.Finished,
    ]  # fmt: skip
    assert "".join(event.text for event in events if isinstance(event, ev.Wrote)) == "one two three"
    last = events[-1]
    assert (last.reason, last.values["tokens"], last.values["prompt_tokens"]) == ("stop", 3, 7)
    assert last.values["dollars"] == pytest.approx((7 * 0.2 + 3 * 0.6) / 1e6)
    asked = state.asked[0]
    assert asked["model"] == MODEL
    assert asked["messages"][0] == {"role": "system", "content": "be brief"}
    assert (asked["max_tokens"], asked["temperature"], asked["seed"], asked["top_k"]) == (9, 0.5, 3, 5)


def test_an_answer_that_is_too_long_says_so_and_a_schema_goes_along(router):
    state, remote = router
    last = ask(remote, "long", json_schema='{"type": "integer"}')[-1]
    assert (last.reason, last.values["complete"]) == ("length", False)
    assert state.asked[0]["response_format"]["json_schema"]["schema"] == {"type": "integer"}


@pytest.mark.parametrize(
    ("word", "kind", "code", "message"),
    [
        ("unsigned", Gated, "provider.sign_in", "does not take your sign-in"),
        ("broke", HubError, "provider.credits", "no credits left"),
        ("gone", NotFound, "provider.unknown", "fast does not offer org/big:fast"),
        ("hurried", HubError, "provider.busy", "fewer requests"),
        ("down", HubError, "provider.broken", r"failed \(status 503\)"),
        ("odd", BadInput, "input.invalid", "fast refused the request.*this is odd"),
    ],
)
def test_what_the_provider_refuses_is_said_in_words(router, word, kind, code, message):
    with pytest.raises(kind, match=message) as caught:
        ask(router[1], word)
    assert caught.value.code == code
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("word", ["stop", "error"])
def test_what_was_said_before_it_broke_off_stays(router, word):
    said = ""
    stream = router[1].stream("text", {"model": MODEL, "messages": [{"role": "user", "content": word}]}, TOKEN)
    with pytest.raises(HubError) as caught:
        for event in stream:
            said += event.text if isinstance(event, ev.Wrote) else ""
    assert said == "one two three"
    assert caught.value.code == "provider.stopped"


@pytest.mark.parametrize("word", ["endless", "silent"])
def test_stop_closes_the_request_soon(router, word):
    state, remote = router
    stream = remote.stream("text", {"model": MODEL, "messages": [{"role": "user", "content": word}]}, TOKEN)
    while not isinstance(next(stream), ev.Wrote):
        pass
    if word == "silent":  # it gives a sign now and then, so that a reader can stop it
        while not isinstance(next(stream), ev.Logged):
            pass
    stream.close()
    deadline = time.monotonic() + 5
    while not state.cut:
        assert time.monotonic() < deadline, "the provider still writes"
        time.sleep(0.02)


def test_the_token_goes_into_the_header_alone(router, caplog):
    state, remote = router
    with caplog.at_level(logging.DEBUG):
        events = ask(remote)
    assert state.tokens == [f"Bearer {TOKEN}"]
    assert not [event for event in events if TOKEN in ev.encode(event)]
    assert TOKEN not in caplog.text
    assert TOKEN not in json.dumps(state.asked)


def test_offers_are_live_and_priced(router):
    remote = router[1]
    assert [(offer.name, offer.note) for offer in remote.offers("org")] == [
        (MODEL, "fast · $0.20 in, $0.60 out per million tokens"),
        ("org/free:kind", "kind · price not told"),
    ]
    assert remote.offers("none") == []
    assert Remote("http://127.0.0.1:9/v1").offers("org") == []


@pytest.mark.parametrize(
    ("change", "token", "message"),
    [
        ({}, "", "on your own account.*Sign in"),
        ({"adapter": "run/a"}, TOKEN, "without an adapter"),
        ({"alternatives": 3}, TOKEN, "without the chances"),
        ({"temperature": 9}, TOKEN, "temperature is 9"),
    ],
)
def test_what_can_not_be_asked_is_refused_before_the_network(router, change, token, message):
    state, remote = router
    with pytest.raises(LabError, match=message):
        ask(remote, token=token, **change)
    assert state.asked == []


def test_only_chats_are_answered_there(router):
    with pytest.raises(BadInput, match="answers chats only"):
        router[1].stream("complete", {"model": MODEL, "prompt": "x"}, TOKEN)


@pytest.mark.parametrize("schema", ["", '{"type": "integer"}'])
def test_the_script_asks_the_same(router, capsys, monkeypatch, schema):
    state, remote = router
    monkeypatch.setattr("huggingface_hub.inference._client.get_token", lambda: TOKEN, raising=False)
    monkeypatch.setattr("huggingface_hub.utils._headers.get_token", lambda: TOKEN)
    monkeypatch.setattr("huggingface_hub.inference._providers._common.get_token", lambda: TOKEN)
    asked = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "seed": 4, "json_schema": schema}
    list(remote.stream("text", asked, TOKEN))
    exec(compile(code(check(ChatParams, asked)), "chat.py", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out == "one two three\n"
    ours, script = state.asked
    assert script == {key: value for key, value in ours.items() if key != "stream_options"}
