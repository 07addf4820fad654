"""Who asks: a signed-in person, a browser, or a program.

An owner is a word that stands for one of these in the registry. It is a digest, so neither the cookie nor the
session can be read back from a run's files.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from typing import Any

import gradio as gr

COOKIE = "atelier_visitor"
_SHAPE = re.compile(r"[\w-]{43}")  # what token_urlsafe(32) gives
_YEAR = 365 * 24 * 3600


def owner(request: gr.Request) -> str:
    """`user-NAME` when signed in, else `visitor-…` for this browser, else `session-…` for a program's client."""
    scope: dict[str, Any] = request.request.scope if request.request else {}
    signed_in = scope.get("session", {}).get("oauth_info") or {}
    if signed_in and signed_in.get("expires_at", time.time() + 1) > time.time():
        return f"user-{signed_in['userinfo']['preferred_username']}"
    cookie = request.request.cookies.get(COOKIE, "") if request.request else ""
    if _SHAPE.fullmatch(cookie):
        return f"visitor-{_digest(cookie)}"
    return f"session-{_digest(request.session_hash or secrets.token_urlsafe())}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]


class Cookies:
    """ASGI middleware: the page's first answer gives the browser a name of its own that no script can read."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["method"] != "GET" or scope["path"] not in ("", "/"):
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
