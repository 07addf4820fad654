from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio as gr
import httpx
import pytest
from starlette.requests import Request

from backend.targets.fake import Fake
from tests.ui.scripted import ROOT, served
from tests.ui.scripted import lab as scripted
from ui import shell


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory):
    with served(tmp_path_factory.mktemp("shell")) as address, httpx.Client(base_url=address) as http:
        yield http


def visit(query: str) -> gr.Request:
    scope = {"type": "http", "headers": [], "path": "/", "method": "GET", "query_string": query.encode()}
    return gr.Request(Request(scope))


def test_health_answers_at_once(site):
    answer = site.get("/health")
    assert (answer.status_code, answer.text) == (200, "ok")


def test_the_page_tells_where_work_runs_and_names_the_visitor(site):
    answer = site.get("/")
    assert answer.status_code == 200
    assert "atelier_visitor=" in answer.headers["set-cookie"]
    assert html.escape(Fake().describe()) in site.get("/config").text


def test_the_page_asks_no_other_server_for_anything(site):
    """Fonts, styles, pictures: a page must open where nothing else can be reached."""
    text = site.get("/").text + site.get("/theme.css").text
    loaded = re.findall(r"""(?:src=|url\(|@import\s+)["']?(https?://[^"')\s]+)""", text)
    assert [one for one in loaded if "127.0.0.1" not in one] == []


def test_pictures_of_elsewhere_are_refused(site):
    assert "img-src 'self' data: blob:" in site.get("/config").json()["head"]


def test_nothing_is_kept_of_what_people_run(site):
    config = site.get("/config").json()
    assert config["analytics_enabled"] is False
    assert config["show_error"] is False
    assert config["run_history"] is False if "run_history" in config else True
    assert config["footer_links"] == ["api"]


def test_files_of_this_machine_are_not_served(site, tmp_path: Path):
    secret = tmp_path / "secret.txt"
    secret.write_text("x")
    for path in (secret, Path("/etc/hostname"), Path("app.py").absolute()):
        assert site.get(f"/gradio_api/file={path}").status_code in (403, 404)


def test_only_named_endpoints_are_public(site):
    fns = site.get("/config").json()["dependencies"]
    shown = {fn["api_name"] for fn in fns if fn["api_visibility"] == "public"}
    runs = {"launch", "run", "events", "runs", "cancel", "resume"}
    assert shown == {"chat", "image", "task", "rows", "stats", "sql", "upload"} | runs


def test_tabs_are_those_that_exist():
    assert [(key, title) for key, title, _ in shell.TABS] == [
        ("text", "Text"),
        ("images", "Images"),
        ("data", "Data"),
        ("tune", "Tune"),
        ("evaluate", "Evaluate"),
        ("run", "Run"),
        ("hub", "Hub"),
    ]


def test_the_owner_of_a_space_chooses_its_tabs(home: Path):
    """A run can be opened all the same."""
    some = scripted(ATELIER_HOME=str(home), ATELIER_TABS="text, hub")
    assert [key for key, *_ in shell.tabs_of(some)] == ["text", "run", "hub"]
    every = scripted(ATELIER_HOME=str(home))
    assert shell.tabs_of(every) == list(shell.TABS)


def selected(query: str) -> tuple[object, object]:
    tabs, run = shell._open(visit(query))
    return getattr(tabs, "selected", None), run if isinstance(run, str) else None


def test_the_address_opens_a_tab_or_a_run():
    assert selected("tab=tune") == ("tune", None)
    assert selected("run=ab12") == ("run", "ab12")
    assert selected("") == selected("tab=nonsense") == (None, None)


OAUTH = {
    "SPACE_ID": "me/atelier",
    "SYSTEM": "spaces",
    "OAUTH_CLIENT_ID": "x",
    "OAUTH_CLIENT_SECRET": "x",
    "OAUTH_SCOPES": "openid profile",
    "OPENID_PROVIDER_URL": "http://127.0.0.1:9",
}


def test_sign_in_is_offered_only_where_it_works(home: Path):
    """Built in processes of their own, as Gradio reads the environment once and leaves event loops behind."""
    code = "import os, ui.shell, tests.ui.scripted as s; print(ui.shell.build(s.lab(**os.environ)).expects_oauth)"

    def offered(env: dict[str, str]) -> str:
        env = os.environ | {"ATELIER_HOME": str(home / str(len(env)))} | env
        told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True)
        return told.stdout.strip() or told.stderr

    with ThreadPoolExecutor(2) as pool:
        assert [*pool.map(offered, ({}, {"OAUTH_CLIENT_ID": "x"}, OAUTH))] == ["False", "False", "True"]


def test_no_height_depends_on_the_window():
    """In an iframe that fits its content, such a page would grow without end."""
    assert re.findall(r"\d(?:vh|dvh|svh)\b|height:\s*\d+%", shell.STYLE.read_text()) == []
