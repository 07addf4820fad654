"""The Tune tab and the run view in a real browser with real training: four steps, live loss, reload, stop, resume; then
what was trained answers beside its base."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from tests.conftest import Server

pytestmark = pytest.mark.browser
SLOW = 240_000  # ms; a run begins with importing the trainer and loading the model
STEPS = 40
SMALL = {"per_device_train_batch_size": "1", "eval_rows": "2", "sample_prompts": "1", "sample_new_tokens": "8"}


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    one = browser.new_context(viewport={"width": 1280, "height": 900})
    yield one
    one.close()


def fill(page: Page, name: str, value: str) -> None:
    page.locator(f"#tune-{name} textarea, #tune-{name} input").fill(value)


def launch(page: Page, site: Server, **settings: str) -> str:
    """Press through the four steps and Run; the run's id."""
    page.goto(f"{site.url}/?tab=tune")
    expect(page.locator("#tune-facts .row").first).to_be_visible()
    expect(page.locator("#tune-facts")).to_contain_text("504 rows")
    page.get_by_role("button", name="Which rows").click()
    rows = {name: settings.pop(name) for name in ("eval_rows", "seed") if name in settings}
    for name, value in rows.items():
        fill(page, name.replace("_", "-"), value)
    page.get_by_role("button", name="Next: Method").click()
    expect(page.get_by_role("radio", name="Supervised fine-tuning with LoRA", exact=True)).to_be_checked()
    page.get_by_role("button", name="More settings").click()
    for name, value in settings.items():
        fill(page, name.replace("_", "-"), value)
    page.get_by_role("button", name="Next: Where").click()
    expect(page.locator("#tune-cost")).to_contain_text("Nothing waits")
    page.get_by_role("button", name="Next: Run").click()
    expect(page.locator("#tune-summary")).to_contain_text("SFT · LoRA r=8 on sample/instructions")
    page.locator("#tune-evaluate-after input").uncheck()
    page.locator("#tune-launch").dblclick()  # one run all the same
    expect(page.locator("#run-header .run-id")).to_be_visible()
    expect(page).to_have_url(re.compile("run="))
    return page.url.rpartition("run=")[2].partition("&")[0]


def state(page: Page, word: str) -> None:
    expect(page.locator("#run-header .state")).to_have_text(word, timeout=SLOW)


def step(page: Page) -> int:
    found = re.search(r"step (\d+) of", page.locator("#run-header .run-progress").inner_text())
    return int(found[1]) if found else 0


def test_the_whole_way_with_a_reload_a_stop_and_a_restart(
    context: BrowserContext, site: Server, browser: Browser
) -> None:
    page = context.new_page()
    run = launch(page, site, max_steps=str(STEPS), **SMALL)
    expect(page.locator("#runs-list button[data-run]")).to_have_count(1)
    expect(page.locator("#run-loss canvas, #run-loss svg").first).to_be_visible(timeout=SLOW)
    state(page, "Running")

    page.reload()
    expect(page.locator("#run-header .run-id")).to_have_text(f"run {run}")
    expect(page.locator("#run-figures")).to_contain_text("Loss")
    before = step(page)
    expect(page.locator("#run-header .run-progress")).not_to_contain_text(f"step {before} of", timeout=SLOW)

    page.locator("#run-save").click()
    state(page, "Paused")
    expect(page.locator("#run-artifacts")).to_contain_text("Adapter")
    stopped = step(page)
    assert 0 < stopped < STEPS

    stranger = browser.new_context()
    other = stranger.new_page()
    other.goto(f"{site.url}/?run={run}")
    expect(other.get_by_text("This run is not yours.")).to_be_visible()
    expect(other.locator("#run-view")).to_be_hidden()
    expect(other.locator("#runs-list button[data-run]")).to_have_count(0)
    stranger.close()

    page.evaluate("window.before = true")
    site.restart()
    page.wait_for_function("!window.before", timeout=SLOW)  # the page comes back by itself, with the same run
    state(page, "Paused")
    page.locator("#run-resume").click()
    expect(page.locator("#run-header")).to_contain_text(f"step {STEPS} of {STEPS}", timeout=SLOW)
    state(page, "Finished")
    expect(page.locator("#run-log")).to_contain_text(f"Went on from step {stopped}")
    expect(page.locator("#run-samples .sample").first).to_contain_text("Should be")

    with page.expect_download() as log:
        page.locator("#run-get-log").click()
    assert f"measure step {STEPS}" in Path(log.value.path()).read_text()
    page.locator("#run-after button").first.click()
    expect(page.locator("#run-holds")).to_contain_text("adapter_model.safetensors")
    with page.expect_download() as packed:
        page.locator("#run-zip").click()
    assert packed.value.suggested_filename == f"sft-{run}.zip"
    page.locator("#run-code button").first.click()
    expect(page.locator("#run-code .cm-content")).to_contain_text("SFTTrainer")

    page.locator("#run-chat").click()
    expect(page.locator("#text-adapter-a input")).to_have_value(re.compile(run))
    page.get_by_label("Compare").check()  # with the base, as it was
    page.get_by_role("button", name="Settings").click()
    for name, value in {"max-new-tokens": "12", "temperature": "0"}.items():
        page.locator(f"#text-{name} input, #text-{name} textarea").first.fill(value)
    page.locator("#text-message textarea").fill("Write July 23, 2021 as an ISO date.")
    page.locator("#text-send").click()
    for side in "ab":
        expect(page.locator(f"#text-chat-{side} [data-testid=user]").last).to_contain_text("ISO date", timeout=SLOW)
    expect(page.locator("#text-send")).to_be_visible(timeout=SLOW)
    told = [page.locator(f"#text-chat-{side} [data-testid=bot]").last.inner_text() for side in "ab"]
    assert told[0] != told[1], "a few steps already change the form of an answer"


@pytest.mark.long
def test_two_at_once_wait_in_line_and_each_can_leave(context: BrowserContext, site: Server, browser: Browser) -> None:
    first = context.new_page()
    launch(first, site, max_steps="500")
    second_visitor = browser.new_context()
    second = second_visitor.new_page()
    second.goto(f"{site.url}/?tab=tune")
    second.get_by_role("button", name="Straight to Run").click()
    second.locator("#tune-launch").click()
    state(second, "Queued: 1 run before yours")
    first.locator("#run-cancel").click()
    expect(first.locator("#run-sure")).to_contain_text("is lost")
    first.locator("#run-cancel-no").click()
    expect(first.locator("#run-sure")).to_be_hidden()
    first.locator("#run-cancel").click()
    first.locator("#run-cancel-yes").click()
    state(first, "Cancelled")
    expect(second.locator("#run-header .state")).to_have_text(re.compile("Running|next"), timeout=SLOW)
    second.locator("#run-cancel").click()
    second.locator("#run-cancel-yes").click()
    state(second, "Cancelled")
    second_visitor.close()


def test_a_wrong_value_is_named_and_the_form_keeps_it(context: BrowserContext, site: Server) -> None:
    page = context.new_page()
    page.goto(f"{site.url}/?tab=tune")
    page.get_by_role("button", name="Next: Method").click()
    fill(page, "max-steps", "0")
    page.get_by_role("button", name="Next: Where").click()
    expect(page.get_by_text("max_steps is 0; use at least 1").first).to_be_visible()
    expect(page.locator("#tune-cost")).to_be_hidden()  # the step with the wrong value is not left
    assert page.locator("#tune-max-steps textarea, #tune-max-steps input").input_value() == "0"
    fill(page, "max-steps", "3")
    page.get_by_role("button", name="Next: Where").click()
    expect(page.locator("#tune-cost")).to_be_visible()
    page.get_by_role("button", name="Next: Run").click()
    expect(page.locator("#tune-summary")).to_contain_text("3 steps")
    expect(page.locator("#runs-list button[data-run]")).to_have_count(0)


def test_on_a_phone_nothing_is_wider_than_the_page(browser: Browser, site: Server) -> None:
    phone = browser.new_context(viewport={"width": 390, "height": 844})
    page = phone.new_page()
    page.goto(f"{site.url}/?tab=tune")
    for button in ("Next: Method", "Next: Where", "Next: Run"):
        expect(page.get_by_role("button", name=button)).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.get_by_role("button", name=button).click()
    expect(page.locator("#runs-list")).not_to_be_in_viewport()
    phone.close()
