"""What holds on every page: what the address names comes first, and nothing that a visitor types is lost."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import Server
from tests.ui.scripted import served

pytestmark = pytest.mark.browser

# Types as soon as it can: between two frames, quicker than any visitor.
TYPIST = """name => {
  const tasks = new MessageChannel();
  tasks.port1.onmessage = () => {
    const field = document.querySelector(`#${name} input, #${name} textarea`);
    if (!field?.checkVisibility({ visibilityProperty: true })) return tasks.port2.postMessage(0);
    field.value = "7";
    field.dispatchEvent(new InputEvent("input", { bubbles: true }));
    window.typed = true;
  };
  tasks.port2.postMessage(0);
}"""

# Notes each tab that is seen, frame by frame.
SEEN = """window.seen = [];
const look = () => {
  const name = document.querySelector("#tabs [role=tab][aria-selected=true]")?.textContent.trim();
  if (name && window.seen.at(-1) !== name) window.seen.push(name);
  requestAnimationFrame(look);
};
look();"""


def held(page: Page, name: str) -> None:
    page.wait_for_function("window.typed")
    page.wait_for_timeout(1000)
    expect(page.locator(f"#{name} input, #{name} textarea").first).to_have_value("7", timeout=1)


@pytest.mark.parametrize("opens", ["tab", "accordion"])
def test_what_is_typed_in_the_first_moment_of_a_part_stays(browser: Browser, site: Server, opens: str) -> None:
    page = browser.new_page()
    if opens == "tab":
        page.goto(f"{site.url}/?tab=tune")
        page.evaluate(TYPIST, "tune-max-steps")
        page.get_by_role("button", name="Next: Method").click()
        held(page, "tune-max-steps")
    else:
        page.goto(site.url)
        page.evaluate(TYPIST, "text-max-new-tokens")
        page.locator("#text-settings > button").click()
        held(page, "text-max-new-tokens")
    page.close()


@pytest.mark.parametrize(("asked", "name"), [("?tab=data", "Data"), ("?run=none", "Run"), ("?tab=none", "Text")])
def test_the_tab_that_the_address_names_is_the_first_to_be_seen(
    browser: Browser, site: Server, asked: str, name: str
) -> None:
    page = browser.new_page()
    page.add_init_script(SEEN)
    page.goto(f"{site.url}/{asked}")
    expect(page.locator(f"#tab-{name.lower()}")).to_be_visible()
    if name == "Data":
        expect(page.locator("#data-span")).to_be_visible()  # the server has answered, too
    assert page.evaluate("window.seen") == [name]
    page.close()


@pytest.mark.long
@pytest.mark.skipif(not shutil.which("node"), reason="the server draws pages by Node, which is not installed")
def test_drawn_by_the_server_it_works_too(browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_SSR_MODE", "True")
    with served(tmp_path) as url:
        context = browser.new_context()
        page = context.new_page()
        page.goto(url)
        assert page.locator("script[src*='/_app/']").or_(page.locator("link[href*='/_app/']")).count()
        page.locator("#text-send").click()
        expect(page.get_by_text("tokens/s").first).to_be_visible()
        assert [cookie["name"] for cookie in context.cookies()] == ["atelier_visitor"]
        page.get_by_role("tab", name="Data").click()
        page.locator("#data-grid .top button", has_text="opposite").click()
        expect(page.locator("#data-chips")).to_contain_text("topic = opposite")
        page.goto(f"{url}/?tab=tune")
        expect(page.locator("#tune-facts")).to_contain_text("504 rows")
        page.goto(f"{url}/?embed=1&tab=text")
        expect(page.locator("#text-send")).to_be_visible()
        expect(page.locator("#header")).to_be_hidden()
        context.close()
