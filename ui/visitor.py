"""Who asks: a signed-in person, a browser, a program, or another program's model through MCP.

An owner is a word that stands for one of these in the registry. It is a digest, so neither the cookie nor the
session can be read back from a run's files.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable
from typing import Any

import gradio as gr

COOKIE = "atelier_visitor"
_SHAPE = re.compile(r"[\w-]{43}")  # what token_urlsafe(32) gives
_YEAR = 365 * 24 * 3600
_FIRST = ("", "/", "/theme.css")  # where Gradio renders on the server, that draws the page, and the style comes from us
CALLER = "x-atelier-caller"  # Gradio calls its own endpoints for MCP callers, all in one session; this tells them apart
_SEAL = secrets.token_bytes(32)  # of this process: a caller can't write that header itself


def owner(request: gr.Request) -> str:
    """`user-NAME` when signed in, `visitor-…` for a browser, `caller-…` through MCP, `session-…` for a program."""
    if info := signed_in(request):
        return f"user-{info['userinfo']['preferred_username']}"
    cookie = request.request.cookies.get(COOKIE, "") if request.request else ""
    if _SHAPE.fullmatch(cookie):
        return f"visitor-{_digest(cookie)}"
    who, _, seal = (request.headers.get(CALLER) or "" if request.request else "").partition(".")
    if who and hmac.compare_digest(seal, _seal(who)):
        return f"caller-{who}"
    return f"session-{_digest(request.session_hash or secrets.token_urlsafe())}"


def token(request: gr.Request) -> str | None:
    """The sign-in that a signed-in visitor lent for this call, at the Hub; to be used and not kept."""
    return str(signed_in(request).get("access_token") or "") or None


def signed_in(request: gr.Request) -> dict[str, Any]:
    """What the Hub told of who is signed in, while that is good; {} for nobody."""
    scope: dict[str, Any] = request.request.scope if request.request else {}
    info: dict[str, Any] = scope.get("session", {}).get("oauth_info") or {}
    return info if info and info.get("expires_at", time.time() + 1) > time.time() else {}


class Tokens:
    """Signed-in people's tokens by owner, in this process's memory alone, for as long as they are good."""

    def __init__(self, own: Callable[[str], str]) -> None:
        self._own = own
        self._held: dict[str, tuple[str, float]] = {}

    def __call__(self, owner: str) -> str:
        """The token of `owner`: what they signed in with, else what the server lends them, '' for none."""
        token, until = self._held.get(owner, ("", 0.0))
        return token if until > time.time() else self._own(owner)

    def keep(self, request: gr.Request) -> None:
        """Take the token of whoever opens the page."""
        scope: dict[str, Any] = request.request.scope if request.request else {}
        info = scope.get("session", {}).get("oauth_info") or {}
        if info.get("access_token") and info.get("expires_at", 0) > time.time():
            self._held[owner(request)] = (str(info["access_token"]), float(info["expires_at"]))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _seal(who: str) -> str:
    return hmac.digest(_SEAL, who.encode(), "sha256").hex()


class Names:
    """ASGI middleware that gives a name to those who come without.

    The page's first answer gives the browser one that no script can read. An MCP caller's is made of its Authorization
    header; without one it is this machine's own on a server that is `alone` with it, and new with each call elsewhere.
    """

    def __init__(self, app: Any, alone: bool = False) -> None:
        self.app = app
        self.alone = alone

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and "/mcp" in scope["path"]:
            given = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
            who = _digest(given or ("alone" if self.alone else secrets.token_urlsafe()))
            others = [pair for pair in scope["headers"] if pair[0] != CALLER.encode()]
            scope = scope | {"headers": [*others, (CALLER.encode(), f"{who}.{_seal(who)}".encode())]}
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] not in _FIRST:
            return await self.app(scope, receive, send)
        headers = {key: value.decode("latin-1") for key, value in scope["headers"]}
        held = re.search(rf"(?:^|;\s*){COOKIE}=([^;]*)", headers.get(b"cookie", ""))
        if held and _SHAPE.fullmatch(held[1]):
            return await self.app(scope, receive, send)
        secure = headers.get(b"x-forwarded-proto", scope.get("scheme", "http")).startswith("https")

        async def send_named(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"set-cookie", _cookie(secure).encode())]
            await send(message)

        return await self.app(scope, receive, send_named)


def _cookie(secure: bool) -> str:
    """Over https the page may be framed by another site (a Space is): there the cookie must be its own per frame."""
    kind = "SameSite=None; Secure; Partitioned" if secure else "SameSite=Lax"
    return f"{COOKIE}={secrets.token_urlsafe(32)}; HttpOnly; Max-Age={_YEAR}; Path=/; {kind}"
