"""One thing after another, as a person does it: SFT → DPO → chat, and Reward → PPO. A tiny model, real training."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import Server, clear
from tests.tiny import tiny_model

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.timeout(900)]
SLOW = 300_000  # ms; a run begins with importing the trainer
FEW = {"max-steps": "4", "per-device-train-batch-size": "4", "max-length": "400"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_model(tmp_path_factory.mktemp("tiny")))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, starter: Path) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("walk") / "home", {})
    yield server.start()
    clear(server.home)
    server.process.wait(30)


@pytest.fixture
def page(browser: Browser, site: Server) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    one = context.new_page()
    one.goto(f"{site.url}/?tab=tune")
    yield one
    context.close()


def pick(page: Page, field: str, value: str) -> None:
    box = page.locator(f"#{field} input")
    box.fill(value)
    box.press("Enter")
    box.press("Escape")
    expect(box).to_have_value(re.compile(f"^{re.escape(value)}"))  # then what it is, where it was offered


def train(page: Page, cell: str, model: str, start: str = "", reward: str = "") -> str:
    """Through the four steps to a finished run; its id."""
    page.goto(f"{page.url.partition('?')[0]}?tab=tune")
    expect(page.locator("#tune-facts .row").first).to_be_visible()
    page.get_by_role("button", name="Next: Method").click()
    page.locator(f"#tune-grid input[value='{cell}']").check()
    pick(page, "tune-model", model)
    if start:
        pick(page, "tune-start", start)
    if reward:
        expect(page.locator("#tune-reward")).to_be_visible()
        pick(page, "tune-reward", reward)
    for name, value in FEW.items():
        page.locator(f"#tune-{name} textarea, #tune-{name} input").fill(value)
    page.get_by_role("button", name="Next: Where").click()
    page.get_by_role("button", name="Next: Run").click()
    expect(page.locator("#tune-summary")).to_contain_text(cell.partition("/")[0].upper())
    page.locator("#tune-evaluate-after input").uncheck()
    page.locator("#tune-launch").click()
    expect(page.locator("#run-header .state")).to_have_text("Finished", timeout=SLOW)
    expect(page.locator("#run-header h2")).to_contain_text(cell.partition("/")[0].upper())
    found = re.search(r"run=(\w+)", page.url)
    assert found
    return found[1]


def test_fine_tune_then_prefer_then_talk(page: Page, model: str) -> None:
    first = train(page, "sft/lora", model)
    second = train(page, "dpo/lora", model, start=f"run/{first}")
    expect(page.locator("#run-family")).to_contain_text(f"goes on from {first}")
    expect(page.locator("#run-margin svg")).to_be_visible()
    page.locator("#run-chat").click()
    expect(page.locator("#text-adapter-a input")).to_have_value(re.compile(second))


def test_reward_then_ppo(page: Page, model: str) -> None:
    reward = train(page, "reward/lora", model)
    expect(page.locator("#run-accuracy svg")).to_be_visible()
    train(page, "ppo/lora", model, reward=f"run/{reward}")
    expect(page.locator("#run-family")).to_contain_text(f"rewarded by {reward}")
    expect(page.locator("#run-kl svg")).to_be_visible()
