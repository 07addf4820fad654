from __future__ import annotations

import re
import time
from http.cookies import SimpleCookie

import gradio as gr
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ui.visitor import CALLER, COOKIE, Names, Tokens, owner

NAME = "a" * 43


def asked(cookie: str = "", session_hash: str | None = "s1", **scope) -> gr.Request:
    headers = [(b"cookie", f"{COOKIE}={cookie}".encode())] if cookie else []
    raw = Request({"type": "http", "headers": headers, "path": "/", "method": "GET"} | scope)
    return gr.Request(raw, session_hash=session_hash)


def signed_in(name: str, expires_in: float) -> dict:
    return {"oauth_info": {"userinfo": {"preferred_username": name}, "expires_at": time.time() + expires_in}}


def test_a_browser_is_its_cookie_and_the_cookie_can_not_be_read_back():
    assert owner(asked(NAME)) == owner(asked(NAME, session_hash="another tab"))
    assert owner(asked(NAME)) != owner(asked("b" * 43))
    assert owner(asked(NAME)).startswith("visitor-")
    assert NAME not in owner(asked(NAME))


def test_a_program_is_its_session():
    assert owner(asked(session_hash="x")) == owner(asked(session_hash="x")) != owner(asked(session_hash="y"))
    assert owner(asked(session_hash=None)) != owner(asked(session_hash=None))


def test_a_weak_cookie_of_ones_own_making_is_no_name():
    assert owner(asked("me", session_hash="x")) == owner(asked(session_hash="x"))


def test_a_signed_in_person_is_their_name_until_it_ends():
    assert owner(asked(NAME, session=signed_in("ann", 60))) == "user-ann"
    assert owner(asked(NAME, session=signed_in("ann", -60))) == owner(asked(NAME))


@pytest.fixture
def site() -> TestClient:
    routes = [Route(path, lambda _: PlainTextResponse("ok")) for path in ("/", "/config", "/theme.css")]
    return TestClient(Starlette(routes=routes, middleware=[Middleware(Names)]))


def test_the_first_page_names_the_browser_and_later_ones_leave_it(site):
    first = site.get("/").headers["set-cookie"]
    assert re.fullmatch(rf"{COOKIE}=[\w-]{{43}}; HttpOnly; Max-Age=31536000; Path=/; SameSite=Lax", first)
    assert "set-cookie" not in site.get("/").headers


def test_names_differ_and_only_the_page_gives_them(site):
    names = set()
    for _ in range(5):
        site.cookies.clear()
        names.add(SimpleCookie(site.get("/").headers["set-cookie"])[COOKIE].value)
    site.cookies.clear()
    assert len(names) == 5
    assert "set-cookie" not in site.get("/config").headers


def test_a_page_that_is_drawn_on_the_server_names_the_browser_with_its_style(site):
    """There Gradio's Node process answers for the page; the style, which comes before any script, is ours."""
    assert COOKIE in site.get("/theme.css").headers["set-cookie"]
    assert "set-cookie" not in site.get("/theme.css").headers


def test_a_framed_page_over_https_keeps_its_own_name(site):
    cookie = site.get("/", headers={"x-forwarded-proto": "https"}).headers["set-cookie"]
    assert cookie.endswith("SameSite=None; Secure; Partitioned")


def test_a_cookie_that_is_no_name_is_replaced(site):
    assert "set-cookie" in site.get("/", headers={"cookie": f"{COOKIE}=me"}).headers


def called(alone: bool = False, path: str = "/gradio_api/mcp/", **headers: str) -> str:
    """The owner that a call through MCP has, as Gradio hands its headers on in a session that all such calls share."""

    def echo(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.headers.get(CALLER, ""))

    site = TestClient(Starlette(routes=[Route(path, echo)], middleware=[Middleware(Names, alone=alone)]))
    passed = site.get(path, headers=headers).text
    return owner(asked(session_hash="shared", headers=[(CALLER.encode(), passed.encode())]))


def test_a_caller_through_mcp_is_its_token_and_never_the_shared_session():
    ann = called(Authorization="Bearer ann")
    assert ann == called(Authorization="Bearer ann") != called(Authorization="Bearer bob")
    assert ann.startswith("caller-")
    assert "ann" not in ann
    assert called() != called()
    assert called(alone=True) == called(alone=True)


def test_a_caller_can_not_name_itself():
    ann = called(Authorization="Bearer ann")
    forged = {CALLER: f"{ann.removeprefix('caller-')}.{'0' * 64}"}
    assert called(path="/other", **forged).startswith("session-")
    assert called(**forged) != ann


def test_a_signed_in_person_s_token_is_theirs_until_it_ends():
    tokens = Tokens(lambda owner: "the server's own")
    ann = asked(NAME, session={"oauth_info": {**signed_in("ann", 60)["oauth_info"], "access_token": "hf_ann"}})
    tokens.keep(ann)
    tokens.keep(asked("b" * 43))
    assert tokens(owner(ann)) == "hf_ann"
    assert tokens(owner(asked("b" * 43))) == "the server's own"
    gone = asked(NAME, session={"oauth_info": {**signed_in("bob", -1)["oauth_info"], "access_token": "hf_bob"}})
    tokens.keep(gone)
    assert tokens("user-bob") == "the server's own"
