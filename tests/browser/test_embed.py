"""Atelier in a page of another site, whose cookies the browser does not lend: as people embed it."""

from __future__ import annotations

import json
import mimetypes
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import gradio
import pytest
from gradio_client import Client
from playwright.sync_api import Browser, BrowserContext, FrameLocator, Page, expect, sync_playwright

from tests import chromium
from tests.conftest import Server
from tests.tiny import tiny_model

pytestmark = [pytest.mark.browser, pytest.mark.long]
TALLEST = 4000  # px that a frame's page may have
COMPONENT = Path(gradio.__file__).parent / "templates" / "frontend"  # what Gradio's own servers give others


@pytest.fixture
def elsewhere() -> Iterator[Callable[[str], str]]:
    """`elsewhere(html)` is the address of a page on another site: localhost, where the app is on 127.0.0.1.

    /component/gradio.js is there, too.
    """
    pages: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.strip("/")
            file = COMPONENT / name.removeprefix("component/")
            body = pages[int(name)] if name.isdigit() else file.read_bytes() if name and file.is_file() else b""
            self.send_response(200 if body else 404)
            kind = "text/html" if name.isdigit() else mimetypes.guess_type(name)[0] or "application/octet-stream"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def page(html: str) -> str:
        pages.append(f"<!doctype html><title>A blog</title><h1>A blog</h1>{html}".encode())
        return f"http://localhost:{server.server_port}/{len(pages) - 1}"

    yield page
    server.shutdown()
    server.server_close()


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[BrowserContext]:
    """A browser that blocks the cookies of third parties; requests say https, as a Space's proxy does."""
    profile = tmp_path / "profile"
    (profile / "Default").mkdir(parents=True)
    blocked = {"profile": {"cookie_controls_mode": 1, "block_third_party_cookies": True}}
    (profile / "Default" / "Preferences").write_text(json.dumps(blocked))
    note = chromium.NOTE.read_text().strip() if chromium.NOTE.exists() else chromium.OWN
    playwright = sync_playwright().start()
    context = playwright.chromium.launch_persistent_context(
        str(profile),
        executable_path=None if note == chromium.OWN else note,
        args=list(chromium.ARGS),
        extra_http_headers={"x-forwarded-proto": "https"},
    )
    yield context
    context.close()
    playwright.stop()


def frame(page: Page, address: str) -> FrameLocator:
    page.goto(address)
    return page.frame_locator("iframe")


def fits(page: Page) -> None:
    """Nothing is wider than the frame, and its page does not grow by itself."""
    inside = page.frames[1]
    assert inside.evaluate("document.documentElement.scrollWidth <= innerWidth")
    before = inside.evaluate("document.documentElement.scrollHeight")
    page.wait_for_timeout(1500)
    after = inside.evaluate("document.documentElement.scrollHeight")
    assert after <= max(before, 600) + 1
    assert after < TALLEST


def test_a_tab_in_a_blog(site: Server, elsewhere: Callable[[str], str], strict: BrowserContext) -> None:
    page = strict.new_page()
    for width in (1200, 320):
        page.set_viewport_size({"width": max(width + 40, 400), "height": 900})
        html = f'<iframe src="{site.url}/?embed=1&tab=text" width={width} height=700 style="border:0"></iframe>'
        inside = frame(page, elsewhere(html))
        expect(inside.locator("#text-send")).to_be_visible()
        expect(inside.locator("#header")).to_be_hidden()
        expect(inside.get_by_role("tab", name="Tune")).to_be_hidden()
        expect(inside.get_by_text("Open Atelier itself")).to_have_attribute("href", f"{site.url}/?tab=text")
        fits(page)
    inside.locator("#text-send").click()
    expect(inside.get_by_text("tokens/s").first).to_be_visible()
    fits(page)


def test_dark_and_another_tab(site: Server, elsewhere: Callable[[str], str], strict: BrowserContext) -> None:
    page = strict.new_page()
    html = f'<iframe src="{site.url}/?embed=1&tab=data&__theme=dark" width=700 height=600></iframe>'
    inside = frame(page, elsewhere(html))
    expect(inside.locator("#tab-data")).to_be_visible()
    expect(inside.locator("body.dark")).to_be_attached()
    expect(inside.locator("#data-span")).to_contain_text("of 504")
    expect(inside.locator("#data-grid thead")).to_contain_text("distinct")
    fits(page)


def test_as_a_web_component(site: Server, elsewhere: Callable[[str], str], browser: Browser) -> None:
    """Without a frame: it is drawn, answers, and keeps its height.

    Not by `strict`: told that the page came by https, the server names itself so, where nothing listens.
    """
    page = browser.new_page()
    script = '<script type="module" src="/component/gradio.js"></script>'
    page.goto(elsewhere(f'{script}<gradio-app src="{site.url}" theme_mode="dark"></gradio-app>'))
    expect(page.get_by_role("heading", name="A blog")).to_be_visible()
    expect(page.locator("gradio-app #text-send")).to_be_visible()
    expect(page.locator(".dark").first).to_be_attached()
    expect(page.get_by_role("tab", name="Tune")).to_be_visible()
    page.locator("#text-send").click()
    expect(page.get_by_text("tokens/s").first).to_be_visible()
    height = page.evaluate("document.documentElement.scrollHeight")
    assert height < TALLEST
    page.wait_for_timeout(1500)
    assert page.evaluate("document.documentElement.scrollHeight") <= height + 1
    page.close()


def test_runs_stay_with_the_browser_though_cookies_are_blocked(
    site: Server, elsewhere: Callable[[str], str], strict: BrowserContext
) -> None:
    """The visitor's cookie is one of the frame within this page alone, which browsers keep."""
    page = strict.new_page()
    frame(page, elsewhere(f'<iframe src="{site.url}/?embed=1" width=700 height=600></iframe>'))
    expect(page.frame_locator("iframe").locator("#text-send")).to_be_visible()
    first = {c["name"]: c["value"] for c in strict.cookies(site.url)}
    page.reload()
    expect(page.frame_locator("iframe").locator("#text-send")).to_be_visible()
    again = {c["name"]: c["value"] for c in strict.cookies(site.url)}
    assert first.get("atelier_visitor")
    assert first["atelier_visitor"] == again["atelier_visitor"]


def test_a_public_run_is_a_live_chart(
    site: Server, elsewhere: Callable[[str], str], strict: BrowserContext, tmp_path: Path
) -> None:
    model = tiny_model(tmp_path / "tiny")
    params = {"model": str(model), "max_steps": 400, "sample_prompts": 0, "eval_rows": 0, "logging_steps": 1}
    run = Client(site.url, verbose=False).predict("sft", params, api_name="/launch")
    page = strict.new_page()
    html = f'<iframe src="{site.url}/?embed=1&run={run}" width=320 height=420></iframe>'
    address = elsewhere(html)
    inside = frame(page, address)
    expect(inside.get_by_text("not yours").first).to_be_visible()
    (site.home / "runs" / run / "public").touch()
    inside = frame(page, address)
    expect(inside.locator("#run-charts svg").first).to_be_visible()
    expect(inside.locator("#run-actions")).to_be_hidden()
    expect(inside.locator("#run-log")).to_be_hidden()
    before = inside.locator("#run-charts").inner_html()
    expect(inside.locator("#run-charts")).not_to_have_js_property("innerHTML", before)  # it moves
    assert page.frames[1].evaluate("document.documentElement.scrollWidth <= innerWidth")
