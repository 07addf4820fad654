"""The Text tab in a real browser, with the real starter: stream, Stop, Retry, Edit, Undo, Compare, Code, errors."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.conftest import Server

pytestmark = pytest.mark.browser
COUNT = "Count from 1 to 100, one number a line."
LONG = "Write a very long story about a fox, a river and a village."  # over 1,500 tokens with seed 0
SLOW = 120_000  # ms; the first answer waits until the model is loaded


@pytest.fixture
def page(browser: Browser, site: Server) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    one = context.new_page()
    one.goto(site.url)
    expect(one.locator("#text-send")).to_be_visible()
    yield one
    context.close()


def answers(page: Page, side: str = "a") -> Locator:
    return page.locator(f"#text-chat-{side} [data-testid=bot]")


def figures(page: Page, side: str = "a") -> Locator:
    return page.locator(f"#text-chat-{side} .thought-group").last


def settings(page: Page, **values: str) -> None:
    page.get_by_role("button", name="Settings").click()
    for name, value in values.items():
        field = page.locator(f"#text-{name} input[type=number], #text-{name} textarea").first
        field.fill(value)
        field.press("Tab")
    page.get_by_role("button", name="Settings").click()


def ask(page: Page, text: str | None = None) -> None:
    """Send, and see it taken: the question enters the chat in the same moment as Stop takes the place of Send."""
    users = page.locator("#text-chat-a [data-testid=user]")
    before = users.count()
    if text is not None:
        page.locator("#text-message textarea").fill(text)
    page.locator("#text-send").click()
    expect(users).to_have_count(before + 1)


def ended(page: Page) -> None:
    expect(page.locator("#text-send")).to_be_visible(timeout=SLOW)
    expect(page.locator("#text-stop")).to_be_hidden()


def test_one_click_streams_and_stop_keeps_the_text(page: Page) -> None:
    settings(page, **{"max-new-tokens": "1500"})
    ask(page, LONG)
    expect(figures(page)).to_contain_text("s to first token", timeout=SLOW)
    lengths: list[int] = []
    while len(set(lengths)) < 4:  # it grows
        assert len(lengths) < 200, f"the answer does not grow while it is made: {lengths}"
        lengths.append(len(answers(page).first.inner_text()))
        page.wait_for_timeout(100)
    expect(page.locator("#text-message textarea")).to_have_value("")
    page.locator("#text-stop").click()
    ended(page)
    kept = answers(page).first.inner_text()
    assert len(kept) >= max(lengths)
    expect(figures(page)).to_contain_text(
        re.compile(r"[\d.]+ s to first token · [\d.]+ tokens/s · \d+ tokens · stopped")
    )
    expect(page.locator("#text-meter-a")).to_contain_text(re.compile(r"\d+ of 8,192 tokens|\d+ of 2,048 tokens"))
    page.wait_for_timeout(500)
    assert answers(page).first.inner_text() == kept, "it went on after Stop"


def test_retry_edit_undo(page: Page) -> None:
    settings(page, **{"max-new-tokens": "40"})
    ask(page, None)  # the prompt that is already written
    ended(page)
    expect(answers(page)).to_have_count(2)  # the answer and its figures
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("#text-seed input")).to_have_value("1")
    ended(page)
    expect(answers(page)).to_have_count(2)
    chat = page.locator("#text-chat-a")
    chat.get_by_role("button", name="Edit").first.click()
    chat.locator("textarea").fill(COUNT)
    chat.get_by_role("button", name="Submit").click()
    expect(page.locator("#text-stop")).to_be_visible()
    ended(page)
    expect(chat.locator("[data-testid=user]")).to_have_text(COUNT)
    page.get_by_role("button", name="Undo").click()
    expect(chat.locator("[data-testid=user]")).to_have_count(0)
    expect(page.locator("#text-message textarea")).to_have_value(COUNT)


def test_an_answer_cut_short_goes_on(page: Page) -> None:
    settings(page, **{"max-new-tokens": "6"})
    ask(page, COUNT)
    ended(page)
    begun = answers(page).first.inner_text()
    settings(page, **{"max-new-tokens": "40"})
    page.locator("#text-continue").click()
    expect(page.locator("#text-stop")).to_be_visible()
    ended(page)
    whole = answers(page).first.inner_text()
    assert whole.startswith(begun.strip())
    assert len(whole) > len(begun)


def test_compare_streams_both_sides_on_one_prompt(page: Page) -> None:
    settings(page, **{"max-new-tokens": "24", "seed": "5"})
    page.get_by_label("Compare").check()
    expect(page.locator("#text-chat-b")).to_be_visible()
    ask(page, "Write one sentence about rain.")
    ended(page)
    left, right = (answers(page, side).first.inner_text() for side in "ab")
    assert left.strip()
    assert left == right, "the same model, prompt and seed"
    page.locator("#text-code-button").click()
    expect(page.locator("#text-script")).to_contain_text("transformers")


def test_an_error_is_a_toast_and_nothing_is_lost(page: Page) -> None:
    settings(page, **{"max-new-tokens": "4"})
    page.locator("#text-message textarea").fill("   ")
    page.locator("#text-send").click()
    expect(page.locator(".toast-wrap")).to_contain_text("The message is empty; write something first.")
    ask(page, "Hello")
    ended(page)
    page.locator("#text-model-a input").fill("nobody/no-such-model")
    page.locator("#text-model-a input").press("Enter")
    page.locator("#text-message textarea").fill("And now?")
    page.locator("#text-send").click()
    expect(page.locator(".toast-wrap")).to_contain_text("nobody/no-such-model", timeout=SLOW)
    ended(page)
    expect(page.locator("#text-message textarea")).to_have_value("And now?")
    expect(page.locator("#text-chat-a [data-testid=user]")).to_have_text("Hello")


def test_html_is_shown_and_does_nothing(page: Page) -> None:
    failed: dict[str, str | None] = {}
    page.on("requestfailed", lambda request: failed.update({request.url: request.failure}))
    settings(page, **{"max-new-tokens": "4"})
    evil = "<img src=x onerror='window.hit=1'><script>window.hit=1</script> ![p](http://127.0.0.2:9/p.png)"
    ask(page, evil)
    ended(page)
    expect(page.locator("#text-chat-a [data-testid=user]")).to_contain_text("<script>window.hit=1</script>")
    assert page.evaluate("window.hit") is None
    assert failed["http://127.0.0.2:9/p.png"] == "csp"


def test_addresses_and_the_bare_form(page: Page, site: Server) -> None:
    page.goto(f"{site.url}/?tab=tune")
    expect(page.get_by_role("tab", name="Tune")).to_have_attribute("aria-selected", "true")
    page.goto(f"{site.url}/?embed=1&tab=text")
    page.set_viewport_size({"width": 320, "height": 700})
    expect(page.locator("#text-send")).to_be_visible()
    expect(page.locator("#header")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


def test_light_and_dark_are_remembered(page: Page) -> None:
    dark = page.evaluate("document.body.classList.contains('dark')")
    page.locator("#theme").click()
    page.reload()
    expect(page.locator("#text-send")).to_be_visible()
    page.wait_for_function(f"document.body.classList.contains('dark') === {str(not dark).lower()}")
