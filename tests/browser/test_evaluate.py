"""The Evaluate tab in a real browser with the real starter: figures, rows, filters, names, export, another metric."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import Server

pytestmark = pytest.mark.browser
SLOW = 240_000  # ms; a run begins with importing and loading the model


@pytest.fixture
def page(browser: Browser, site: Server) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    one = context.new_page()
    one.goto(f"{site.url}/?tab=evaluate")
    yield one
    context.close()


def choose(page: Page, field: str, option: str) -> None:
    page.locator(f"{field} input").click()
    page.get_by_role("option", name=option, exact=True).click()


def test_from_a_click_to_an_answer(page: Page) -> None:
    expect(page.locator("#evaluate-history")).to_contain_text("kept here")
    expect(page.locator("#evaluate-shown")).to_be_hidden()
    page.locator("#evaluate-settings > button").click()
    page.locator("#evaluate-max-rows textarea, #evaluate-max-rows input").fill("6")
    page.locator("#evaluate-max-new-tokens textarea, #evaluate-max-new-tokens input").fill("8")
    page.locator("#evaluate-start").dblclick()  # one run all the same
    expect(page.locator("#evaluate-table")).to_contain_text("n = 6", timeout=SLOW)
    expect(page.locator("#evaluate-history button.open")).to_have_count(1)
    expect(page.locator("#evaluate-table")).to_contain_text("Exact match")
    expect(page.locator("#evaluate-rows .example")).to_have_count(6)
    page.locator("#evaluate-shown").get_by_role("tab", name="Code").click()
    expect(page.locator("#evaluate-code")).to_contain_text("AutoTokenizer")
    page.locator("#evaluate-shown").get_by_role("tab", name="Rows").click()

    page.locator("#evaluate-query textarea, #evaluate-query input").fill("Lena")
    page.locator("#evaluate-query textarea, #evaluate-query input").press("Enter")
    expect(page.locator("#evaluate-rows .example")).to_have_count(1)
    choose(page, "#evaluate-show", "Failed")
    expect(page.locator("#evaluate-rows")).to_contain_text("No row is like that")

    page.locator("#evaluate-name textarea, #evaluate-name input").fill("My <b>first</b>")
    page.locator("#evaluate-name textarea, #evaluate-name input").press("Enter")
    expect(page.locator("#evaluate-head h2")).to_have_text("My <b>first</b>")
    expect(page.locator("#evaluate-history button.open b")).to_have_text("My <b>first</b>")
    page.locator("#evaluate-history button.pin").click()
    expect(page.locator("#evaluate-history button.pin")).to_have_text("★")
    with page.expect_download() as download:
        page.locator("#evaluate-export").click()
    assert Path(download.value.path()).read_text().startswith("model,figure,value,low,high,n")

    choose(page, "#evaluate-metrics", "Length")
    page.locator("#evaluate-rescore").click()
    expect(page.locator("#evaluate-table")).to_contain_text("tokens", timeout=SLOW)
    expect(page.locator("#evaluate-history button.open")).to_have_count(2)

    page.locator("#evaluate-views").get_by_role("tab", name="Dashboard").click()
    expect(page.locator("#evaluate-pictures svg").first).to_be_visible()
    expect(page.locator("#evaluate-board")).to_contain_text("Exact match")

    page.reload()
    page.locator("#evaluate-history button.open").nth(1).click()
    expect(page.locator("#evaluate-table")).to_contain_text("Length")
    page.locator("#evaluate-delete").click()
    page.locator("#evaluate-yes").click()
    expect(page.locator("#evaluate-history button.open")).to_have_count(1)
    expect(page.locator("#evaluate-shown")).to_be_hidden()


def test_what_does_not_fit_is_said_at_once(page: Page) -> None:
    choose(page, "#evaluate-metrics", "Preference accuracy")
    page.locator("#evaluate-start").click()
    expect(page.get_by_text("it needs chosen and rejected answers").first).to_be_visible()
    page.locator("#evaluate-example").click()
    expect(page.get_by_text("You have tuned no model yet").first).to_be_visible()


def test_on_a_phone_nothing_is_wider_than_the_page(browser: Browser, site: Server) -> None:
    phone = browser.new_context(viewport={"width": 390, "height": 844})
    page = phone.new_page()
    page.goto(f"{site.url}/?tab=evaluate")
    expect(page.locator("#evaluate-start")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(page.locator("#tabs")).to_contain_text(re.compile("Evaluate"))
    phone.close()
