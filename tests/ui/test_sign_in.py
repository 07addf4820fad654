"""Gradio's own sign-in against a provider of ours: who is asked for what, and whose runs are shown."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
import yaml
from gradio import oauth
from gradio.routes import App
from starlette.testclient import TestClient

from backend.engines.client import EngineProcess
from backend.lab import Lab
from backend.settings import Settings
from backend.store import Store
from backend.targets.fake import Fake
from tests.conftest import ROOT
from tests.openid import Provider
from ui import sign_in
from ui.sign_in import LEAST, MORE, allowing
from ui.visitor import owner, token

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")


@pytest.fixture
def provider() -> Iterator[Provider]:
    one = Provider()
    yield one
    one.close()


@pytest.fixture
def browser(home: Path, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """Somebody's browser at a Space with `hf_oauth`; `/gradio_api/call/me` tells who asks."""
    for name, value in provider.env.items():
        monkeypatch.setenv(name, value)
        if hasattr(oauth, name):
            monkeypatch.setattr(oauth, name, value)
    settings = Settings.read({**provider.env, "ATELIER_HOME": str(home)})
    lab = Lab(settings, Store(home), (Fake(),), EngineProcess(env={}))
    with gr.Blocks() as blocks:
        sign_in.draw(lab, blocks)
        button, told = gr.Button(), gr.JSON()
        button.click(_me, None, told, api_name="me", queue=False)
    app = App.create_app(blocks, app_kwargs={"routes": [*sign_in.ROUTES]})
    with TestClient(app, base_url="https://space.test", follow_redirects=False) as client:
        yield client
    del blocks, app
    gc.collect()  # Gradio leaves an event loop open for each Blocks that is served in a process with none


def _me(request: gr.Request) -> list[str]:
    return [owner(request), "lent" if token(request) else ""]


def me(browser: TestClient) -> list[str]:
    told: list[str] = browser.post("/gradio_api/run/me", json={"data": []}).json()["data"][0]
    return told


def through(browser: TestClient, provider: Provider, path: str) -> str:
    """Go where the redirects lead, as a browser does; returns where that ends."""
    place = path
    for _ in range(6):
        answer = browser.get(place)
        if answer.status_code not in (302, 307):
            return place
        place = answer.headers["location"]
        if place.startswith(provider.url):
            import httpx2

            place = httpx2.get(place, follow_redirects=False).headers["location"]
        place = place.removeprefix("https://space.test")
        if place.startswith("/?") or place == "/":
            return place
    raise AssertionError(f"it goes round in circles: {place}")


def test_signing_in_asks_for_least_and_makes_an_owner(browser: TestClient, provider: Provider) -> None:
    assert me(browser)[0].startswith("session-")
    assert through(browser, provider, "/login/huggingface?tab=tune") == "/?tab=tune"
    assert provider.asked == [list(LEAST)]
    assert me(browser) == ["user-ann", "lent"]
    browser.get("/logout")
    assert me(browser)[0].startswith("session-")


def test_more_is_asked_when_wanted_and_what_was_allowed_stays(browser: TestClient, provider: Provider) -> None:
    through(browser, provider, "/login/huggingface")
    through(browser, provider, "/login/more?for=publish")
    assert provider.asked[-1] == [*LEAST, "contribute-repos"]
    through(browser, provider, "/login/more?for=jobs")
    assert provider.asked[-1] == [*LEAST, "contribute-repos", "jobs"]
    assert me(browser) == ["user-ann", "lent"]


def test_nothing_is_asked_for_an_unknown_wish(browser: TestClient, provider: Provider) -> None:
    assert through(browser, provider, "/login/more?for=everything") == "/"
    assert provider.asked == []


def test_what_is_allowed_already_is_not_offered() -> None:
    assert allowing(None) == ""
    told = allowing({*LEAST, "jobs"})
    assert "Allow publishing" in told
    assert "Allow Jobs" not in told
    assert "ZeroGPU" not in told
    assert "ZeroGPU" in allowing(set(LEAST), zerogpu=True)
    assert allowing({*LEAST, *(scope for scopes, _ in MORE.values() for scope in scopes)}, True) == ""


def test_every_scope_is_one_that_the_space_may_ask_for() -> None:
    front = yaml.safe_load((ROOT / "README.md").read_text().split("---\n")[1])
    wanted = {*LEAST, *(scope for scopes, _ in MORE.values() for scope in scopes)} - {"openid", "profile"}
    assert wanted == set(front["hf_oauth_scopes"])
