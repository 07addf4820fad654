"""The Tasks pane in a real browser, with the models of the house."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import Server

pytestmark = pytest.mark.browser
SLOW = 120_000  # ms; the first answer waits until the model is loaded


@pytest.fixture
def page(browser: Browser, site: Server) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    one = context.new_page()
    one.goto(site.url)
    expect(one.locator("#text-send")).to_be_visible()
    one.get_by_label("Tasks").check()
    expect(one.locator("#task-go")).to_be_visible()
    yield one
    context.close()


def choose(page: Page, title: str) -> None:
    page.locator("#task-name input").click()
    page.get_by_role("option", name=title, exact=True).click()


def test_the_first_example_is_one_click_away_and_the_next_too(page: Page):
    page.locator("#task-go").click()
    rows = page.locator("#task-result .task-bars tr")
    expect(rows).to_have_count(4, timeout=SLOW)
    expect(rows.first).to_contain_text("cooking")
    expect(page.locator("#task-stop")).to_be_hidden()
    choose(page, "Similarity")
    expect(page.locator("#task-field-0")).to_contain_text("Texts")
    page.locator("#task-go").click()
    expect(page.locator("#task-result .task-heat td[style]")).to_have_count(25, timeout=SLOW)
    page.locator("#task-code-button").click()
    expect(page.locator("#task-script")).to_contain_text("AutoModel")


def test_what_is_wrong_is_said_and_what_was_typed_stays(page: Page):
    labels = page.locator("#task-field-1 textarea, #task-field-1 input").first
    labels.fill("only one")
    page.locator("#task-go").click()
    expect(page.get_by_test_id("toast-body")).to_contain_text("labels", timeout=SLOW)
    expect(labels).to_have_value("only one")
    expect(page.locator("#task-go")).to_be_visible()
    choose(page, "Describe a picture")
    expect(page.locator("#task-image img")).to_be_visible()
    expect(labels).to_be_hidden()
