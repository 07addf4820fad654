"""The Text tab in a real browser: with the real starter one answer from end to end, the rest over a scripted engine."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.conftest import Server
from tests.ui.scripted import served

pytestmark = pytest.mark.browser
LONG = "Write a very long story about a fox, a river and a village."  # at temperature 0 the starter never ends it
SLOW = 120_000  # ms; the first answer waits until the model is loaded


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with served(tmp_path_factory.mktemp("scripted")) as url:
        yield url


def opened(browser: Browser, url: str, **options: object) -> Iterator[Page]:
    context = browser.new_context(**({"viewport": {"width": 1280, "height": 900}} | options))
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    one = context.new_page()
    one.goto(url)
    expect(one.locator("#text-send")).to_be_visible()
    yield one
    context.close()


@pytest.fixture
def page(browser: Browser, scripted: str) -> Iterator[Page]:
    yield from opened(browser, scripted)


@pytest.fixture
def real(browser: Browser, site: Server) -> Iterator[Page]:
    yield from opened(browser, site.url)


def turns(page: Page, role: str = "bot", side: str = "a") -> Locator:
    return page.locator(f"#text-chat-{side} [data-testid={role}]")


def note(page: Page, side: str = "a") -> Locator:
    return page.locator(f"#text-chat-{side} .note").last


def settings(page: Page, **values: str) -> None:
    page.locator("#text-settings > button").click()
    for name, value in values.items():
        page.locator(f"#text-{name} input, #text-{name} textarea").first.fill(value)
    page.locator("#text-settings > button").click()


def ask(page: Page, text: str | None = None) -> None:
    """Send, and see it taken: the question enters the chat in the same moment as Stop takes the place of Send."""
    users = turns(page, "user")
    before = users.count()
    if text is not None:
        page.locator("#text-message textarea").fill(text)
    page.locator("#text-send").click()
    expect(users).to_have_count(before + 1)


def ended(page: Page) -> None:
    expect(page.locator("#text-send")).to_be_visible(timeout=SLOW)
    expect(page.locator("#text-stop")).to_be_hidden()
    expect(page.locator("#text-chat-a.busy, #text-chat-a .going")).to_have_count(0)


def act(page: Page, name: str, side: str = "a", place: int = -1) -> None:
    page.locator(f"#text-chat-{side} .turn").nth(place).get_by_role("button", name=name, exact=True).click()


def test_one_click_streams_and_stop_keeps_the_text(real: Page) -> None:
    settings(real, **{"max-new-tokens": "4000", "temperature": "0"})
    ask(real, LONG)
    expect(note(real)).to_contain_text("s to first token", timeout=SLOW)
    lengths: list[int] = []
    while len(set(lengths)) < 4:  # it grows
        assert len(lengths) < 200, f"the answer does not grow while it is made: {lengths}"
        lengths.append(len(turns(real).first.inner_text()))
        real.wait_for_timeout(100)
    expect(real.locator("#text-message textarea")).to_have_value("")
    real.locator("#text-stop").click()
    ended(real)
    kept = turns(real).first.inner_text()
    assert len(kept) >= max(lengths)
    expect(note(real)).to_contain_text(re.compile(r"[\d.]+ s to first token · [\d.]+ tokens/s · \d+ tokens · stopped"))
    expect(real.locator("#text-meter-a")).to_contain_text(re.compile(r"\d+ of 8,192 tokens|\d+ of 2,048 tokens"))
    real.wait_for_timeout(500)
    assert turns(real).first.inner_text() == kept, "it went on after Stop"


def test_the_prompt_is_shown_as_the_model_reads_it(real: Page) -> None:
    real.locator("#text-message textarea").fill("Which tokens?")
    real.locator("#text-message textarea").press("End")
    real.locator("#text-prompt-button").click()
    expect(real.locator("#text-prompt-text")).to_contain_text("<|im_start|>user", timeout=SLOW)
    expect(real.locator("#text-prompt-text")).to_contain_text("Which tokens?")
    real.locator("#text-message textarea").press_sequentially(" Say.")
    expect(real.locator("#text-count")).to_contain_text(re.compile(r"\d+ tokens to send; .* of 8,192"), timeout=SLOW)


def test_versions_are_kept_and_switched(page: Page) -> None:
    page.locator("#text-settings > button").click()
    ask(page, "one two three")
    ended(page)
    act(page, "Retry")
    expect(page.locator("#text-seed input, #text-seed textarea").first).to_have_value("1")
    ended(page)
    expect(page.locator("#text-chat-a .of")).to_have_text("2/2")
    act(page, "Edit", place=0)
    field = page.locator("#text-chat-a .turn textarea")
    field.fill("four five")
    field.press("Enter")
    expect(turns(page, "user")).to_have_text("four five")
    ended(page)
    expect(turns(page)).to_contain_text("four five")
    act(page, "‹", place=0)
    expect(turns(page, "user")).to_have_text("one two three")
    expect(page.locator("#text-chat-a .of")).to_have_text(["1/2", "2/2"])
    act(page, "Edit")
    page.locator("#text-chat-a .turn textarea").fill("my **own** words")
    act(page, "Save")
    expect(turns(page).locator("strong")).to_have_text("own")
    expect(page.locator("#text-chat-a .of").last).to_have_text("3/3")
    act(page, "Copy")
    assert page.evaluate("navigator.clipboard.readText()") == "my **own** words"


def test_an_answer_cut_short_goes_on(page: Page) -> None:
    ask(page, "cut")
    ended(page)
    expect(note(page)).to_contain_text("longest answer reached")
    expect(turns(page)).to_have_text("cut")
    act(page, "Continue")
    expect(turns(page)).to_have_text(re.compile(r"^cut\s+cut"))
    ended(page)
    expect(turns(page)).to_have_count(1)


def test_compare_votes_and_the_votes_are_data(page: Page) -> None:
    page.get_by_label("Compare", exact=True).check()
    expect(page.locator("#text-chat-b")).to_be_visible()
    ask(page, "asked")
    ended(page)
    expect(page.locator("#text-vote-a")).to_be_visible()
    page.locator("#text-code-button").click()
    expect(page.locator("#text-code-text")).to_contain_text("transformers")
    act(page, "Edit", side="b")
    page.locator("#text-chat-b .turn textarea").fill("something else")
    act(page, "Save", side="b")
    expect(turns(page, side="b")).to_have_text("something else")
    page.locator("#text-sides").click(position={"x": 5, "y": 5})
    page.keyboard.press("2")
    expect(page.locator("#text-votes")).to_contain_text("1 preference kept")
    with page.expect_download() as download:
        page.locator("#text-votes-save").click()
    row = json.loads(Path(download.value.path()).read_text())
    assert row["chosen"][0]["content"] == "something else"
    page.locator("#text-votes-tune").click()
    expect(page.locator("#tune-dataset input").first).to_have_value(re.compile("preferences.jsonl"))


def test_conversations_are_kept_in_this_browser(page: Page, tmp_path: Path) -> None:
    ask(page, "one two three")
    ended(page)
    page.wait_for_function("Object.keys(localStorage).some(key => key.startsWith('atelier-chat-'))")
    page.reload()
    expect(turns(page)).to_contain_text("one two three")
    page.locator("#text-new").click()
    expect(turns(page, "user")).to_have_count(0)
    ask(page, "four five")
    ended(page)
    page.locator("#text-history-button").click()
    names = page.locator(".history .name")
    expect(names).to_have_text(["four five", "one two three"])
    page.get_by_label("Search conversations").fill("three")
    expect(names).to_have_text(["one two three"])
    with page.expect_download() as download:
        page.locator(".history li").get_by_role("button", name="Export").click()
    line = json.loads(Path(download.value.path()).read_text())
    assert [message["role"] for message in line["messages"]] == ["user", "assistant"]
    names.first.click()
    expect(turns(page, "user")).to_have_text("one two three")
    page.locator(".history li").get_by_role("button", name="Delete").click()
    expect(names).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(names).to_have_text(["one two three"])
    page.get_by_label("Search conversations").fill("")
    good = tmp_path / "good.jsonl"
    good.write_text('{"messages": [{"role": "user", "content": "from a file"}]}\n')
    page.locator(".history input[type=file]").set_input_files(good)
    expect(names.first).to_have_text("from a file")
    bad = tmp_path / "bad.jsonl"
    bad.write_text(good.read_text() + "{oops\n")
    page.locator(".history input[type=file]").set_input_files(bad)
    expect(page.locator(".toast-wrap")).to_contain_text("Line 2 is not JSON")
    kept = page.evaluate("Object.entries(localStorage)")
    assert {key.rsplit("-", 1)[0] for key, _ in kept} <= {"atelier-chat", "atelier"}
    assert all(
        set(json.loads(value)) == {"id", "title", "mode", "sides", "updated"} for key, value in kept if "chat" in key
    )


def test_a_browser_that_keeps_nothing_is_told_and_works(browser: Browser, scripted: str) -> None:
    context = browser.new_context()
    context.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('no', 'SecurityError'); } });"
    )
    page = context.new_page()
    page.goto(scripted)
    ask(page, "one two three")
    ended(page)
    expect(turns(page)).to_contain_text("one two three")
    page.locator("#text-history-button").click()
    expect(page.locator(".history .told")).to_contain_text("This browser keeps no conversations")
    context.close()


def test_an_error_is_a_toast_and_nothing_is_lost(page: Page) -> None:
    page.locator("#text-message textarea").fill("   ")
    page.locator("#text-send").click()
    expect(page.locator(".toast-wrap")).to_contain_text("The message is empty; write something first.")
    ask(page, "Hello there")
    ended(page)
    page.locator("#text-message textarea").fill("die")
    page.locator("#text-send").click()
    expect(page.locator(".toast-wrap")).to_contain_text("The engine is gone")
    ended(page)
    expect(page.locator("#text-message textarea")).to_have_value("die")
    expect(turns(page, "user")).to_have_text("Hello there")


def test_what_is_too_long_can_be_dropped(page: Page) -> None:
    page.locator("#text-message textarea").fill("word " * 1500)
    page.locator("#text-send").click()
    expect(turns(page, "user")).to_have_count(1)
    ended(page)
    page.locator("#text-message textarea").fill("word " * 700)
    page.locator("#text-send").click()
    expect(page.locator(".toast-wrap")).to_contain_text("tokens. Shorten it.")
    page.locator("#text-trim").click()
    expect(page.locator("#text-trim")).to_be_hidden()
    page.locator("#text-send").click()
    expect(turns(page, "user")).to_have_count(2)
    expect(page.locator("#text-chat-a .unread")).to_have_count(2)
    ended(page)


def test_what_a_model_writes_is_shown_and_does_nothing(page: Page) -> None:
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    evil = (
        "<img src=x onerror='window.hit=1'><script>window.hit=1</script> ![p](http://127.0.0.2:9/p.png) "
        "[x](javascript:window.hit=1) <svg/onload=window.hit=1> \x1b[31mred"
    )
    ask(page, evil)
    ended(page)
    for role in ("user", "bot"):
        expect(turns(page, role)).to_contain_text("<script>window.hit=1</script>")
    expect(turns(page)).to_contain_text("␛[31mred")
    page.reload()
    expect(turns(page)).to_contain_text("<script>window.hit=1</script>")
    assert turns(page).locator("img, script, svg, [onerror], a[href^=javascript]").count() == 0
    assert page.evaluate("window.hit") is None
    assert not [url for url in requests if "127.0.0.2" in url or url.endswith("/x")]


def test_tokens_show_their_alternatives(page: Page) -> None:
    page.locator("#text-settings > button").click()
    page.locator("#text-chances input").check()
    ask(page, "one two three")
    ended(page)
    tokens = page.locator("#text-chat-a .token")
    expect(tokens).to_have_count(3)
    tokens.first.click()
    expect(page.locator("#token-card")).to_contain_text("75 %")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#token-card")).to_contain_text("two")
    page.locator("#text-chances input").uncheck()
    expect(tokens).to_have_count(0)
    expect(turns(page)).to_contain_text("one two three")


def test_complete_writes_on_and_undoes(page: Page) -> None:
    page.get_by_label("Complete", exact=True).check()
    text = page.locator("#text-page textarea")
    expect(page.locator("#text-send")).to_be_hidden()
    text.fill("Once upon")
    page.locator("#text-write").click()
    expect(text).to_have_value("Once uponOnce upon ")
    expect(page.locator("#text-write")).to_be_visible()
    page.locator("#text-undo").click()
    expect(text).to_have_value("Once upon")
    page.reload()
    page.get_by_label("Complete", exact=True).check()
    expect(text).to_have_value("Once upon")


def test_system_prompts_are_chosen_and_kept(page: Page) -> None:
    page.locator("#text-settings > button").click()
    system = page.locator("#text-system textarea, #text-system input").first
    bar = page.locator("#text-settings .presets").first
    bar.locator("select").select_option("Brief")
    expect(system).to_have_value("Answer in one or two short sentences.")
    system.fill("Speak like a sailor of old.")
    bar.locator(".save").click()
    page.reload()
    page.locator("#text-settings > button").click()
    bar.locator("select").select_option("Speak like a sailor of old.")
    expect(system).to_have_value("Speak like a sailor of old.")


def test_a_full_browser_is_told_and_the_chat_goes_on(page: Page) -> None:
    page.evaluate(
        """() => {
          for (let size = 1 << 20; size >= 1; size >>= 1) {
            try {
              for (let n = 0; ; n++) localStorage.setItem(`full-${size}-${n}`, "x".repeat(size));
            } catch {}
          }
        }"""
    )
    ask(page, "one two three")
    ended(page)
    expect(turns(page)).to_contain_text("one two three")
    expect(page.locator("#text-kept")).to_contain_text("no more room for conversations")
    page.locator("#text-history-button").click()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Export all").click()
    assert saved.value.suggested_filename.endswith(".jsonl")
    assert "one two three" in Path(saved.value.path()).read_text()
    page.evaluate(
        "Object.keys(localStorage).filter(key => key.startsWith('full-')).forEach(key => localStorage.removeItem(key))"
    )
    ask(page, "four")
    ended(page)
    expect(page.locator("#text-kept")).to_be_empty()


@pytest.mark.long
def test_two_hundred_turns_stay_quick(page: Page) -> None:
    """A conversation of 200 turns, opened and gone on with."""
    many = [{"role": ("user", "assistant")[n % 2], "content": f"Turn **{n}** " + "and-so-on-" * 50} for n in range(200)]
    file = {"name": "long.jsonl", "mimeType": "application/jsonl", "buffer": json.dumps({"messages": many}).encode()}
    page.locator("#text-history-button").click()
    page.locator(".history input[type=file]").set_input_files(file)
    page.locator(".history .name").click()
    expect(turns(page)).to_have_count(100)
    expect(turns(page).last.locator("strong").first).to_be_attached()
    settings(page, **{"max-new-tokens": "8000"})
    ask(page, "forever")
    expect(turns(page)).to_have_count(101)
    expect(turns(page).last).to_contain_text("again again")
    page.evaluate(
        """() => {
          window.touched = new Set();
          const note = found => found.forEach(one => touched.add(
            (one.target.nodeType === 1 ? one.target : one.target.parentElement).closest("article")?.dataset.turn));
          new MutationObserver(note).observe(
            document.querySelector("#text-chat-a .turns"), { subtree: true, childList: true, characterData: true });
        }"""
    )
    before = len(turns(page).last.inner_text())
    page.wait_for_function(
        f"[...document.querySelectorAll('#text-chat-a .words')].at(-1).innerText.length > {before + 50}"
    )
    touched = page.evaluate("[...touched]")
    page.locator("#text-stop").click()
    ended(page)
    assert touched == ["202"], "only the answer that grows is drawn again"


def test_addresses_and_the_bare_form(page: Page, scripted: str) -> None:
    page.goto(f"{scripted}/?tab=tune")
    expect(page.get_by_role("tab", name="Tune")).to_have_attribute("aria-selected", "true")
    page.goto(f"{scripted}/?embed=1&tab=text")
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
