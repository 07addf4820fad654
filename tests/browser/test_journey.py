"""The loop walked once, as a visitor would: talk, stop, tune, reload while it trains, finish, compare."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.conftest import Server

pytestmark = pytest.mark.browser
SLOW = 180_000  # ms


def test_talk_tune_compare(browser: Browser, server: Callable[..., Server], starter: Path) -> None:
    site = server()
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)

    page.goto(site.url)
    page.get_by_role("button", name="Settings").click()
    page.locator("#text-max-new-tokens input, #text-max-new-tokens textarea").fill("4000")
    page.locator("#text-temperature input").first.fill("0")  # so the starter goes on until it is stopped
    page.locator("#text-message textarea").fill("Write a very long story about a fox, a river and a village.")
    page.locator("#text-send").click()
    answer = page.locator("#text-chat-a [data-testid=bot]").first
    figures = page.locator("#text-chat-a .note").last  # what the engine is doing, then the answer's speed
    expect(figures).to_contain_text("tokens/s", timeout=SLOW)
    page.locator("#text-stop").click()
    expect(page.locator("#text-send")).to_be_visible(timeout=SLOW)
    assert answer.inner_text().strip()

    page.get_by_role("tab", name="Tune").click()
    page.get_by_role("button", name="Next: Method").click()
    page.locator("#tune-max-steps textarea, #tune-max-steps input").fill("8")
    page.get_by_role("button", name="Next: Where").click()
    page.get_by_role("button", name="Next: Run").click()
    page.locator("#tune-evaluate-after input").uncheck()
    page.locator("#tune-launch").click()
    state = page.locator("#run-header .state")
    expect(state).to_have_text("Running", timeout=SLOW)
    page.reload()
    expect(state).to_have_text(re.compile("Running|Finished"), timeout=SLOW)
    expect(page.locator("#run-figures")).to_contain_text("Loss", timeout=SLOW)
    expect(state).to_have_text("Finished", timeout=SLOW)
    expect(page.locator("#run-samples .sample").first).to_be_visible()

    page.locator("#run-chat").click()
    page.locator("#text-new").click()
    page.get_by_label("Compare").check()
    page.get_by_role("button", name="Settings").click()
    page.locator("#text-max-new-tokens input, #text-max-new-tokens textarea").fill("12")
    page.locator("#text-message textarea").fill("Write July 23, 2021 as an ISO date.")
    page.locator("#text-send").click()
    for side in "ab":
        expect(page.locator(f"#text-chat-{side} [data-testid=user]").last).to_contain_text("ISO date", timeout=SLOW)
    expect(page.locator("#text-send")).to_be_visible(timeout=SLOW)
    told = [page.locator(f"#text-chat-{side} [data-testid=bot]").last.inner_text() for side in "ab"]
    assert told[0] != told[1], "eight steps already change the form of an answer"
    context.close()
