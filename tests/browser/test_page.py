"""What holds on every page: nothing that a visitor types is lost, however soon or late the page is drawn."""

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
