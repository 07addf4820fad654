"""Data work as runs, from the press to what came of it: a model's answers, and checks. A tiny model, real runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.test_data import open_panel, upload
from tests.conftest import Server
from tests.tiny import tiny_model

pytestmark = [pytest.mark.browser, pytest.mark.long]
SLOW = 120_000  # ms; a run begins with importing its libraries


@pytest.fixture
def page(browser: Browser, site: Server) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


def finished(page: Page) -> None:
    expect(page.locator("#run-header .state")).to_have_text("Finished", timeout=SLOW)


def test_answers_are_made_opened_and_tuned_on(page: Page, site: Server, tmp_path: Path) -> None:
    asked = tmp_path / "asked.jsonl"
    asked.write_text("".join(json.dumps({"prompt": f"What is {i} + {i}?", "n": i}) + "\n" for i in range(6)))
    page.goto(f"{site.url}/?tab=data")
    upload(page, asked)
    expect(page.locator("#data-facts")).to_contain_text("6 rows · 2 columns")
    open_panel(page, "generate")
    model = page.locator("#data-generate-model input")
    model.fill(str(tiny_model(tmp_path / "tiny")))
    model.press("Enter")
    page.get_by_label("Longest answer, in tokens").fill("4")
    page.get_by_label("New column").fill("completion")
    page.locator("#data-generate-run").click()
    finished(page)
    expect(page.locator("#run-samples")).to_contain_text("The first answers")
    expect(page.locator("#run-samples")).not_to_contain_text("Should be")
    page.locator("#run-look").click()
    expect(page.locator("#data-facts")).to_contain_text("6 rows · 3 columns")
    expect(page.locator("#data-grid thead .name")).to_have_text(["prompt", "n", "completion"])
    expect(page.locator("#data-grid tbody tr").nth(3)).to_contain_text("What is 3 + 3?")
    page.wait_for_url(re.compile("tab=data&dataset=run%2F"))
    page.locator("#data-tune").click()
    expect(page.locator("#tune-facts")).to_contain_text("6 rows")


def test_checks_go_on_as_a_run_and_what_they_found_is_a_click(page: Page, site: Server, tmp_path: Path) -> None:
    rows = ["ann@example.org wrote this to you", "the same words again", "the same words again", "", "all is well"]
    file = tmp_path / "checked.jsonl"
    file.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    page.goto(f"{site.url}/?tab=data")
    upload(page, file)
    expect(page.locator("#data-facts")).to_contain_text("5 rows · 1 column ")
    open_panel(page, "quality")
    page.locator("#data-check").click()
    found = page.locator("#data-found")
    expect(found).to_contain_text("1with an e-mail")
    page.locator("#data-check-run").click()
    expect(found).to_contain_text("1with an e-mail", timeout=SLOW)
    page.reload()  # it is a run: the page may go
    page.locator("#runs button[data-run]").first.click()
    finished(page)
    page.locator("#run-look").click()
    expect(found).to_contain_text("1with an e-mail")
    found.locator("[data-act=filter]").first.click()
    expect(page.locator("#data-chips")).to_be_visible()
    expect(page.locator("#data-span")).to_contain_text("of")
