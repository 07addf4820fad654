"""The Images tab in a real browser, with the real engine and a pipeline of a few thousand weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from tests.conftest import Server
from tests.tiny_images import tiny_pipeline

pytestmark = pytest.mark.browser
SLOW = 120_000  # ms; the first picture waits until the model is loaded
# Keeps each preview that is seen on the stage.
WATCH = """window.previews = [];
new MutationObserver(() => {
  const source = document.querySelector("#image-stage img")?.src ?? "";
  if (source.startsWith("data:") && window.previews.at(-1) !== source) window.previews.push(source);
}).observe(document.body, {subtree: true, childList: true, attributes: true});"""


@pytest.fixture(scope="module")
def tiny(site: Server) -> str:
    """What the page calls a tiny pipeline."""
    tiny_pipeline(site.home / "models" / "tiny")
    return "models/tiny"


@pytest.fixture
def page(browser: Browser, site: Server, tiny: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    one = context.new_page()
    one.goto(f"{site.url}/?tab=images&prompt=a+red+cat&model={tiny}&steps=200&seed=3")
    expect(one.locator("#image-prompt textarea")).to_have_value("a red cat")
    yield one
    context.close()


def draw(page: Page, pictures: int) -> None:
    """Press Draw and wait until so many are in the gallery."""
    page.locator("#image-draw").click()
    expect(page.locator("#image-strip li")).to_have_count(pictures, timeout=SLOW)
    expect(page.locator("#image-draw")).to_be_visible()
    expect(page.locator("#image-stage .acts")).to_be_visible()


def test_one_press_shows_it_growing_and_its_settings_can_be_used_again(page: Page) -> None:
    page.evaluate(WATCH)
    draw(page, 1)
    assert len(page.evaluate("window.previews")) >= 2
    caption = page.locator("#image-stage figcaption")
    expect(caption).to_contain_text("a red cat")
    expect(caption).to_contain_text("seed 3 · 200 steps")
    assert page.evaluate("document.querySelector('#image-stage img').naturalWidth") == 32
    page.locator("#image-prompt textarea").fill("a blue dog")
    page.locator("#image-stage").get_by_text("Reuse settings").click()
    expect(page.locator("#image-prompt textarea")).to_have_value("a red cat")
    page.reload()
    expect(page.locator("#image-strip li")).to_have_count(1)
    expect(page.locator("#image-stage figcaption")).to_contain_text("seed 3")


def test_stop_ends_it_and_the_page_is_ready_again(page: Page) -> None:
    page.locator("#image-examples button").nth(2).click()
    page.locator("#image-settings > button").click()
    page.locator("#image-count input, #image-count textarea").first.fill("8")
    page.locator("#image-draw").click()
    expect(page.locator("#image-stage")).to_contain_text("Picture 1 of 8", timeout=SLOW)
    page.locator("#image-stop").click()
    expect(page.locator("#image-stage")).to_contain_text("Stopped at step")
    expect(page.locator("#image-draw")).to_be_visible()


@pytest.mark.long
def test_only_what_is_painted_over_is_drawn_anew(page: Page, tmp_path: Path) -> None:
    draw(page, 1)
    page.locator("#image-stage").get_by_text("Begin from it").click()
    expect(page.locator("#image-from")).to_contain_text("Begins from the picture")
    page.locator("#image-begin > button").click()
    page.locator("#image-part > button").click()
    canvas = page.locator("#image-editor canvas").first
    expect(canvas).to_be_visible()
    page.wait_for_timeout(2500)  # the editor shows its picture some frames after its canvas is there
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 60, box["y"] + box["height"] / 2, steps=10)
    page.mouse.up()
    expect(page.locator("#image-from")).to_contain_text("only what you painted")
    before = saved(page, tmp_path / "before.png")
    draw(page, 2)
    expect(page.locator("#image-stage figcaption")).to_contain_text("from a picture")
    after = saved(page, tmp_path / "after.png")
    changed = [(x, y) for x in range(32) for y in range(32) if before.getpixel((x, y)) != after.getpixel((x, y))]
    assert changed
    assert all(8 <= y <= 24 for _, y in changed)
    page.locator("#image-from").get_by_text("Without it").click()
    expect(page.locator("#image-from button")).to_have_count(0)


@pytest.mark.long
def test_a_table_is_counted_drawn_and_one_file(page: Page, tmp_path: Path) -> None:
    page.locator("#image-settings > button").click()
    page.locator("#image-steps input, #image-steps textarea").first.fill("4")
    page.locator("#image-grid > button").click()
    page.locator("#image-x-values input, #image-x-values textarea").first.fill("1, 4")
    page.locator("#image-y-values input, #image-y-values textarea").first.fill("1-2")
    expect(page.locator("#image-grid-count")).to_contain_text("4 pictures")
    page.locator("#image-grid-go").click()
    expect(page.locator("#image-table img")).to_have_count(4, timeout=SLOW)
    expect(page.locator("#image-draw")).to_be_visible()
    with page.expect_download() as download:
        page.locator("#image-grid-save").click()
    download.value.save_as(tmp_path / "table.png")
    with Image.open(tmp_path / "table.png") as sheet:
        assert sheet.width > 2 * 96


def saved(page: Page, path: Path) -> Image.Image:
    """The picture on the stage, as its Download gives it."""
    with page.expect_download() as download:
        page.locator("#image-stage").get_by_text("Download").click()
    download.value.save_as(path)
    with Image.open(path) as image:
        return image.convert("RGB")
