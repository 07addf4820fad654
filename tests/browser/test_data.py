"""The Data tab in a real browser: look, filter, sort, search, open a row, ask in SQL, shape, carry on to Tune."""

from __future__ import annotations

import json
import re
import wave
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.ui.scripted import served

pytestmark = pytest.mark.browser
EVIL = '<img src=x onerror="window.evil = 1"> *bold*'


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("data")) as address:
        yield address


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


def upload(page: Page, file: Path) -> None:
    with page.expect_file_chooser() as chosen:
        page.locator("#data-upload").click()
    chosen.value.set_files(file)


def enter(page: Page, field: str, text: str) -> None:
    box = page.locator(field).locator("input, textarea").first
    box.click()
    box.press_sequentially(text)
    box.press("Enter")


def open_panel(page: Page, name: str) -> None:
    page.locator(f"#data-{name} .label-wrap").first.click()


def test_a_click_narrows_sorts_and_opens_and_the_address_keeps_it(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_role("tab", name="Data").click()
    expect(page.locator("#data-facts")).to_contain_text("504 rows · 3 columns")
    page.locator("#data-grid .top button", has_text="opposite").click()
    expect(page.locator("#data-chips")).to_contain_text("topic = opposite")
    expect(page.locator("#data-span")).to_have_text("1–25 of 48")
    page.locator("#data-grid button[data-act=sort][data-column=topic]").click()
    expect(page.locator("#data-grid th[aria-sort=ascending]")).to_contain_text("topic")
    page.get_by_role("button", name="Next page").click()
    expect(page.locator("#data-span")).to_have_text("26–48 of 48")
    page.wait_for_url(re.compile("[?&]p=2"))
    page.reload()
    expect(page.locator("#data-span")).to_have_text("26–48 of 48")
    expect(page.locator("#data-chips")).to_contain_text("topic = opposite")
    page.locator("#data-chips button", has_text="Clear all").click()
    expect(page.locator("#data-span")).to_have_text("Rows 0–24 of 504")
    enter(page, "#data-query", "capital of India")
    expect(page.locator("#data-chips")).to_contain_text("search: capital of India")
    page.locator("#data-grid tbody th button").first.click()
    expect(page.locator("#data-row")).to_contain_text("New Delhi")


def test_an_upload_is_shown_as_text_asked_and_shaped(page: Page, url: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    rows = [{"q": f"{EVIL} {i}", "a": "x" * 900, "n": i if i % 2 else None, "deep": {"k": [i]}} for i in range(60)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    page.goto(f"{url}/?tab=data")
    upload(page, file)
    expect(page.locator("#data-facts")).to_contain_text("60 rows · 4 columns")
    expect(page.locator("#data-grid tbody tr").first).to_contain_text(EVIL)
    expect(page.locator("#data-grid tbody tr").first).to_contain_text("null")
    expect(page.locator("#data-grid thead")).to_contain_text("50% null")
    assert page.evaluate("window.evil") is None

    open_panel(page, "sql")
    page.locator("#data-sql-run").click()
    expect(page.locator("#data-sql-words")).to_contain_text("10 rows")
    with page.expect_download() as file_made:
        page.locator("#data-export-jsonl").click()
    assert len(Path(file_made.value.path()).read_text().splitlines()) == 10

    open_panel(page, "shape")
    page.locator("#data-step input").click()
    page.get_by_role("option", name="prompt-completion").click()
    for slot, column in enumerate("qa"):
        page.locator(f"#data-slot-{slot} input").fill(column)
        page.locator(f"#data-slot-{slot} input").press("Tab")
    page.locator("#data-step-add").click()
    expect(page.locator("#data-preview")).to_contain_text("60 rows came out")
    expect(page.locator("#data-recipe .cm-content")).to_contain_text("remove_columns")
    page.locator("#data-save").click()
    expect(page.locator("#data-facts")).to_contain_text("60 rows · 2 columns", timeout=120_000)
    page.locator("#data-tune").click()
    expect(page.locator("#tune-facts")).to_contain_text("60 rows")
    expect(page.locator("#tune-facts")).to_contain_text("columns: prompt, completion")
    assert page.evaluate("window.evil") is None


def test_a_wrong_word_is_told_and_the_rows_stay(page: Page, url: str) -> None:
    page.goto(f"{url}/?tab=data")
    expect(page.locator("#data-span")).to_have_text("Rows 0–24 of 504")
    open_panel(page, "filters")
    enter(page, "#data-where", "topic = 1 OR true")
    expect(page.get_by_text("Filters can't say").first).to_be_visible()
    expect(page.locator("#data-span")).to_have_text("Rows 0–24 of 504")


def test_columns_are_hidden_and_put_in_another_order(page: Page, url: str) -> None:
    page.goto(f"{url}/?tab=data")
    expect(page.locator("#data-span")).to_have_text("Rows 0–24 of 504")
    open_panel(page, "filters")
    for name in ("topic", "prompt"):
        page.locator("#data-columns input").fill(name)
        page.get_by_role("option", name=name, exact=True).click()
    names = page.locator("#data-grid thead .name")
    expect(names).to_have_text(["topic", "prompt"])
    page.wait_for_url(re.compile("[?&]columns="))
    page.reload()
    expect(names).to_have_text(["topic", "prompt"])


def test_figures_are_of_a_part_until_all_rows_are_asked_for(page: Page, url: str, tmp_path: Path) -> None:
    file = tmp_path / "many.csv"
    file.write_text("n,word\n" + "".join(f"{i % 3},{'even' if i < 250_000 else 'late'}\n" for i in range(250_001)))
    page.goto(f"{url}/?tab=data")
    upload(page, file)
    expect(page.locator("#data-facts")).to_contain_text("250,001 rows · 2 columns")
    words = page.locator("#data-grid thead th").nth(1)
    expect(words).to_contain_text("the first 250,000 of 250,001 rows")
    expect(words).not_to_contain_text("late")
    page.get_by_role("button", name="Of all rows").click()
    expect(page.locator("#data-whole-figures")).to_have_text("Figures of all rows.")
    expect(words).to_contain_text("late")
    words.get_by_role("button", name="late").click()
    expect(page.locator("#data-span")).to_have_text("1–1 of 1")
    expect(page.locator("#data-grid thead th").nth(0)).to_contain_text("1 distinct")


def test_names_are_completed_and_a_result_is_drawn(page: Page, url: str) -> None:
    page.goto(f"{url}/?tab=data")
    expect(page.locator("#data-span")).to_have_text("Rows 0–24 of 504")
    open_panel(page, "sql")
    editor = page.locator("#data-statement .cm-content")
    editor.click()
    page.keyboard.press("Control+a")
    page.keyboard.type("SELECT top", delay=20)
    expect(page.locator(".complete")).to_contain_text("topic")
    page.keyboard.press("Enter")
    page.keyboard.type(", count(*) AS n FROM data GROUP BY 1 ")
    expect(editor).to_have_text("SELECT topic, count(*) AS n FROM data GROUP BY 1 ")
    page.keyboard.press("Control+Enter")
    expect(page.locator("#data-sql-words")).to_contain_text("13 rows")
    page.locator("#data-chart input").click()
    page.get_by_role("option", name="Bars").click()
    expect(page.locator("#data-bars canvas, #data-bars svg").first).to_be_visible()


def test_the_better_answer_is_chosen_with_the_keys(page: Page, url: str) -> None:
    page.goto(f"{url}/?tab=data&dataset=sample/preferences")
    expect(page.locator("#data-span")).to_have_text("Rows 0–24 of 360")
    open_panel(page, "pairs")
    page.locator("#data-pair-begin").click()
    far = page.locator("#data-pair .pager span")
    for key, told in (
        ("", "Row 0 · 0 chosen"), ("ArrowLeft", "Row 1 · 1 chosen"), ("ArrowRight", "Row 2 · 2 chosen"),
        ("ArrowDown", "Row 3 · 2 chosen · 1 skipped"), ("ArrowUp", "Row 2 · 2 chosen · 0 skipped"),
    ):  # fmt: skip
        if key:
            expect(page.locator("#data-pair .pair")).to_be_focused()
            page.keyboard.press(key)
        expect(far).to_contain_text(told)
    page.reload()
    open_panel(page, "pairs")
    page.locator("#data-pair-begin").click()
    expect(far).to_contain_text("Row 2 · 2 chosen")
    page.locator("#data-pair-save").click()
    expect(page.locator("#data-facts")).to_contain_text("2 rows · 3 columns")


def test_a_row_goes_to_the_model_and_sounds_are_played(page: Page, url: str, tmp_path: Path) -> None:
    for name in ("low", "high"):
        (tmp_path / "sounds" / name).mkdir(parents=True)
        with wave.open(str(tmp_path / "sounds" / name / "one.wav"), "wb") as sound:
            sound.setparams((1, 2, 8000, 0, "NONE", ""))
            sound.writeframes(bytes(4000))
    (tmp_path / "sounds" / "metadata.csv").write_text("file_name,words\nlow/one.wav,deep\nhigh/one.wav,bright\n")
    page.goto(f"{url}/?tab=data")
    expect(page.locator("#data-span")).to_have_text("Rows 0–24 of 504")
    with page.expect_file_chooser() as chosen:
        page.locator("#data-folder").click()
    chosen.value.set_files(tmp_path / "sounds")
    expect(page.locator("#data-grid audio")).to_have_count(2)
    for i, (place, word) in enumerate((("high/one.wav", "bright"), ("low/one.wav", "deep"))):
        expect(page.locator("#data-grid tbody tr").nth(i)).to_contain_text(f"{place}{word}")
    page.goto(f"{url}/?tab=data")
    page.locator("#data-grid tbody th button").first.click()
    page.get_by_role("button", name="Ask the model").click()
    expect(page.locator("#tab-text textarea").first).to_have_value("What is 3 August 1973 in ISO form?")


def test_on_a_phone_nothing_is_wider_than_the_page(browser: Browser, url: str) -> None:
    phone = browser.new_context(viewport={"width": 390, "height": 844})
    page = phone.new_page()
    page.goto(f"{url}/?tab=data")
    expect(page.locator("#data-span")).to_be_visible()
    for panel in ("hub", "filters", "tokens", "sql", "quality", "shape", "publish", "generate", "pairs", "code"):
        open_panel(page, panel)
    expect(page.locator("#data-code .cm-content")).to_contain_text("load_dataset")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    phone.close()
