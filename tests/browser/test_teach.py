"""An image model is taught in a real browser: pictures, Run, samples that appear, an adapter to draw with."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from tests.conftest import Server

pytestmark = [pytest.mark.browser, pytest.mark.long]
SLOW = 240_000  # ms; a run begins with importing PyTorch and Diffusers


def test_from_pictures_to_an_adapter(browser: Browser, site: Server) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(f"{site.url}/?tab=tune")
    expect(page.locator("#tune-facts .row").first).to_be_visible()
    page.get_by_label("An image model, from pictures").check()
    expect(page.locator("#tune-thumbs img")).to_have_count(10)
    page.get_by_role("button", name="Next: Method").click()
    page.locator("#tune-pictures-max-steps textarea, #tune-pictures-max-steps input").fill("4")
    page.get_by_role("button", name="Next: Where").click()
    expect(page.locator("#tune-cost")).to_contain_text("Memory: about")
    page.get_by_role("button", name="Next: Run").click()
    expect(page.locator("#tune-summary")).to_contain_text("Image LoRA r=8 of “a sks figure” from 10 pictures")
    expect(page.locator("#tune-evaluate-after")).to_be_hidden()
    page.locator("#tune-launch").click()
    expect(page.locator("#run-samples .drawn img")).to_have_count(4, timeout=SLOW)  # before it has learned anything
    expect(page.locator("#run-header .state")).to_have_text("Finished", timeout=SLOW)
    expect(page.locator("#run-samples .drawn img")).to_have_count(8)
    expect(page.locator("#run-artifacts")).to_contain_text("Image LoRA")
    expect(page.locator("#run-chat")).to_be_hidden()
    page.get_by_role("button", name="Take it away").click()
    expect(page.locator("#run-holds")).to_contain_text("pytorch_lora_weights.safetensors")
    expect(page.locator("#run-merge")).to_be_hidden()
    page.locator("#run-draw").click()
    expect(page.get_by_role("tab", name="Images")).to_have_attribute("aria-selected", "true")
    page.close()
