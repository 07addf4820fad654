"""Sign-in on a Space: least scopes at first, more when an action needs them and its person says so.

Gradio's own routes do the signing in; its callback takes what `more` begins, since both speak as one client.
"""

from __future__ import annotations

import html
import os
from typing import Any
from urllib.parse import urlencode

import gradio as gr
from gradio import oauth
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from backend.lab import Lab
from ui.visitor import signed_in

LEAST = ("openid", "profile", "inference-api", "read-repos", "gated-repos")
MORE = {  # what for: (scopes, in words). Each scope is one that the README's front matter names.
    "publish": (("contribute-repos",), "Allow publishing"),
    "manage": (("manage-repos", "write-repos"), "Allow changing my repositories"),
    "jobs": (("jobs",), "Allow Jobs"),
    "quota": (("read-billing",), "Show my ZeroGPU time"),
}
PRIVATE: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "queue": False}


def offered(lab: Lab) -> bool:
    """Whether there is a sign-in here: a Space with `hf_oauth`."""
    return "SPACE_ID" in lab.settings.env and "OAUTH_CLIENT_ID" in lab.settings.env


def draw(lab: Lab, blocks: gr.Blocks) -> None:
    """The button, and for who is signed in what else they may allow. Nothing where there is no sign-in."""
    if not offered(lab):
        return
    oauth.OAUTH_SCOPES = " ".join(LEAST)
    gr.LoginButton("Sign in", "Sign out ({})", size="sm", scale=0, min_width=90, elem_id="sign-in")
    allow = gr.HTML(elem_id="allow", padding=False)

    def look(request: gr.Request) -> str:
        return allowing(granted(request), zerogpu=lab.settings.zerogpu)

    blocks.load(look, None, allow, **PRIVATE)


def granted(request: gr.Request) -> set[str] | None:
    """The scopes of who is signed in; None for nobody."""
    info = signed_in(request)
    return set(str(info.get("scope", "")).split()) if info else None


def allowing(scopes: set[str] | None, zerogpu: bool = False) -> str:
    """Links to what is not allowed yet, as HTML."""
    if scopes is None:
        return ""
    links = [
        f'<a href="/login/more?{urlencode({"for": name})}">{html.escape(words)}</a>'
        for name, (wanted, words) in MORE.items()
        if not set(wanted) <= scopes and (zerogpu or name != "quota")
    ]
    if not links:
        return ""
    return f"<details class=quiet><summary>Allow more</summary>{' · '.join(links)}</details>"


async def _more(request: Request) -> Response:
    """Sign in again with what `?for=` needs, besides what is allowed already."""
    wanted = MORE.get(str(request.query_params.get("for")))
    if wanted is None or "session" not in request.scope:  # nobody signs in here
        return RedirectResponse("/")
    from authlib.integrations.starlette_client import OAuth

    had = str((request.session.get("oauth_info") or {}).get("scope", "")).split()
    scopes = dict.fromkeys([*LEAST, *had, *wanted[0]])
    hub = OAuth()
    hub.register(
        name="huggingface",
        client_id=oauth.OAUTH_CLIENT_ID,
        client_secret=oauth.OAUTH_CLIENT_SECRET,
        client_kwargs={"scope": " ".join(scopes)},
        server_metadata_url=f"{os.environ['OPENID_PROVIDER_URL']}/.well-known/openid-configuration",
    )
    answer: Response = await hub.huggingface.authorize_redirect(request, oauth._generate_redirect_uri(request))
    return answer


ROUTES = (Route("/login/more", _more),)
