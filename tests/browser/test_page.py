"""What holds on every page: what the address names comes first, and nothing that a visitor types is lost."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.conftest import Server

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
