"""A visitor of a ZeroGPU Space: an answer, a run in slices while the page is open, a pause without it, and on again."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from tests.conftest import ROOT, Server, clear
from tests.zerogpu import Device, token

pytestmark = [pytest.mark.browser, pytest.mark.long]
SLICE = 25  # seconds


class Space(Server):
    """app.py as on a ZeroGPU Space."""

    def start(self, timeout: float = 120) -> Server:
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.zerogpu"], cwd=ROOT, env=self.env, stdout=output, stderr=output
            )
        wait(self.healthy, timeout)
        return self


def wait(true: Callable[[], object], seconds: float = 120, page: Page | None = None) -> None:
    """`page`: whose requests go on meanwhile; the proxy of `ann` works only while Playwright is at work."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        page.wait_for_timeout(200) if page else time.sleep(0.2)


@pytest.fixture
def device() -> Iterator[Device]:
    one = Device({"ann": 3000})
    yield one
    one.close()


@pytest.fixture
def space(home: Path, device: Device, starter: Path) -> Iterator[Server]:
    one = Space(home, {**device.env, "ATELIER_SLICE": str(SLICE)})
    yield one.start()
    clear(one.home)
    one.process.wait(30)


@pytest.fixture
def ann(browser: Browser) -> Iterator[BrowserContext]:
    """Her browser; the Space's proxy says with each request, freshly, that it is she."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})

    def proxy(route: Route) -> None:
        route.continue_(headers={**route.request.headers, "x-ip-token": token("ann")})

    context.route("**/*", proxy)
    yield context
    context.close()


def test_answers_and_slices(space: Server, device: Device, ann: BrowserContext, tmp_path: Path) -> None:
    page = ann.new_page()
    page.goto(space.url)
    expect(page.locator("#where")).to_contain_text("left today")
    page.locator("#text-send").click()
    expect(page.get_by_text("tokens/s").first).to_be_visible()
    assert [grant.user for grant in device.grants] == ["ann"]

    page.get_by_role("tab", name="Tune").click()
    page.get_by_role("button", name="Straight to Run").click()
    expect(page.locator("#tune-launch")).to_be_visible()
    page.get_by_role("button", name="Back").last.click()
    expect(page.locator("#tune-cost")).to_contain_text("Keep this page open")
    page.screenshot(path=tmp_path / "where.png", full_page=True)
    page.get_by_role("button", name="Next: Run").click()
    page.locator("#tune-launch").click()
    wait(lambda: len(device.grants) == 2, page=page)
    expect(page.locator("#run-charts svg").first).to_be_visible()
    wait(lambda: len(device.grants) == 3, page=page)  # the next slice, asked for by the open page
    page.screenshot(path=tmp_path / "run.png", full_page=True)
    assert {grant.user for grant in device.grants} == {"ann"}

    page.close()
    wait(lambda: device._holder is None, 90)
    had = len(device.grants)
    time.sleep(6)
    assert len(device.grants) == had, "nobody is there to ask"
    page = ann.new_page()
    page.goto(space.url)
    wait(lambda: len(device.grants) == had + 1, page=page)
    assert device.killed == []


def test_a_refused_run_goes_on_with_the_cpu(home: Path, starter: Path, ann: BrowserContext) -> None:
    """Nothing of the day's time is left: what else there is stands on the page, and one press does it."""
    device = Device({"ann": 1})
    space = Space(home, {**device.env, "ATELIER_SLICE": str(SLICE)})
    space.start()
    try:
        page = ann.new_page()
        page.goto(space.url)
        expect(page.locator("#where")).to_contain_text("left today")
        page.get_by_role("tab", name="Tune").click()
        page.get_by_role("button", name="Straight to Run").click()
        expect(page.locator("#tune-launch")).to_be_visible()
        page.locator("#tune-launch").click()
        expect(page.locator("#refused")).to_contain_text("waits")
        expect(page.locator("#refused")).to_contain_text("are left")
        page.get_by_role("button", name="Go on with the CPU here").click()
        expect(page.locator("#refused")).to_have_text("")
        expect(page.locator("#run-cancel")).to_be_visible()  # it lives
        assert device.grants == []
    finally:
        clear(home)
        space.process.wait(30)
        device.close()
