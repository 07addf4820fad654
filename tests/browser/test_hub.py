"""The Hub tab in a real browser, against the Hub of this machine: from a search to a download, the cache, resources."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests import localhub
from tests.conftest import Server
from tests.localhub import ANN
from tests.tiny import tiny_model

pytestmark = pytest.mark.browser


def test_from_a_search_to_a_download_and_its_deletion(
    browser: Browser, server: Callable[..., Server], tmp_path: Path
) -> None:
    model = tiny_model(tmp_path / "model")
    files = {path.name: path.read_bytes() for path in model.iterdir()} | {"README.md": b"# Tiny\n\nFor trying things."}
    with localhub.serving() as hub:
        hub.add("models", "ann/tiny", files, told={"pipeline_tag": "text-generation"})
        hub.add("models", "ann/other")
        site = server(
            HF_ENDPOINT=hub.url, HF_TOKEN=ANN, HF_HUB_DISABLE_XET="1", HF_HOME=str(tmp_path / "hf")
        )  # fmt: skip
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.goto(f"{site.url}/?tab=hub")
        body = page.locator("#hub-body")
        expect(page.locator("#hub-head")).to_contain_text("ann · PRO · scopes: write")
        expect(body).to_contain_text("ann/other")
        page.get_by_role("button", name="Find", exact=True).click()
        expect(body).to_contain_text("Everything the Hub has")
        body.get_by_label("Words").fill("tiny")
        body.get_by_label("Words").press("Enter")
        expect(body).not_to_contain_text("ann/other")
        body.get_by_role("button", name="ann/tiny", exact=True).click()
        expect(body).to_contain_text("For trying things.")
        expect(page.locator("#hub-fits")).to_contain_text("It fits here")
        (tmp_path / "notes.txt").write_text("from the page")
        with page.expect_file_chooser() as chooser:
            page.locator("#hub-upload").click()
        chooser.value.set_files(tmp_path / "notes.txt")
        expect(page.locator("#hub-transfers")).to_contain_text("Upload to ann/tiny")
        expect(page.locator("#hub-transfers")).to_contain_text("checksums right")
        page.locator("#hub-transfers").get_by_role("button", name="Dismiss").click()
        expect(page.locator("#hub-transfers")).not_to_contain_text("Upload to")
        body.get_by_role("button", name="Download …").click()
        body.get_by_role("button", name="Download now").click()
        expect(page.locator("#hub-transfers")).to_contain_text("checksums right")
        page.get_by_role("button", name="On this machine").click()
        body.get_by_role("table").get_by_role("button", name="Delete …").click()
        expect(body).to_contain_text("Delete ann/tiny?")
        body.get_by_role("button", name="Delete", exact=True).click()
        expect(body).to_contain_text("Nothing from the Hub is on this machine yet")
        page.get_by_role("button", name="Resources", exact=True).click()
        expect(body).to_contain_text("The server of this page")
        page.get_by_role("button", name="My repositories").click()
        body.get_by_role("button", name="ann/tiny", exact=True).click()
        body.get_by_role("button", name="Tune it").click()
        page.get_by_role("button", name="Next: Method").click()
        expect(page.locator("#tune-model input")).to_have_value("ann/tiny")
        page.context.close()
