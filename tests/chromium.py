"""Finds a Chromium for the tests, or installs one, and notes it in `.venv/browser`.

    python -m tests.chromium

In this order, each tried by opening a page: the one noted last time, Playwright's own, one on the PATH, Playwright's
own downloaded now, Debian's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Error, Playwright, sync_playwright

NOTE = Path(sys.prefix) / "browser"  # a path, or OWN
OWN = "playwright"
ON_PATH = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking")


def launch(playwright: Playwright, which: str = "", **options: Any) -> Browser:
    """Start the noted Chromium, or `which`."""
    which = which or (NOTE.read_text().strip() if NOTE.exists() else OWN)
    path = None if which == OWN else which
    return playwright.chromium.launch(executable_path=path, args=list(ARGS), **options)


def works(which: str) -> bool:
    """Whether it starts and opens a page."""
    try:
        with sync_playwright() as playwright, launch(playwright, which, timeout=60_000) as browser:
            page = browser.new_page()
            page.set_content("<p>ready</p>")
            return page.inner_text("p") == "ready"
    except Error:
        return False


def found() -> Iterator[str]:
    """Browsers to try, installing more only when those before did not work."""
    if NOTE.exists():
        yield NOTE.read_text().strip()
    yield OWN
    yield from filter(None, map(shutil.which, ON_PATH))
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    allowed = not sudo or (shutil.which("sudo") and not subprocess.run([*sudo, "true"], capture_output=True).returncode)
    say("downloading Playwright's Chromium …")
    if ran(sys.executable, "-m", "playwright", "install", "--only-shell", "chromium"):
        yield OWN
        if allowed and ran(sys.executable, "-m", "playwright", "install-deps", "chromium"):
            yield OWN
    if allowed and shutil.which("apt-get"):
        say("installing Debian's chromium …")
        apt = [*sudo, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq"]
        install = ("install", "-y", "--no-install-recommends", "chromium", "fonts-liberation")
        if ran(*apt, "update") and ran(*apt, *install):
            yield from filter(None, map(shutil.which, ON_PATH))


def ran(*command: str) -> bool:
    """Whether the command succeeds. What it says is shown only when it does not."""
    env = os.environ | {"PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT": "15000"}
    result = subprocess.run(command, capture_output=True, text=True, env=env)
    if result.returncode:
        lines = (result.stdout + result.stderr).strip().splitlines()
        why = next((line for line in lines if "Error" in line), lines[-1] if lines else "")
        say(f"that failed: {why.strip()}")
    return result.returncode == 0


def say(text: str) -> None:
    print(f"Browser for the tests: {text}", flush=True)


def main() -> int:
    for which in found():
        if works(which):
            NOTE.write_text(which)
            say("Playwright's own Chromium" if which == OWN else which)
            return 0
    say("none works here and none could be installed.")
    say("install one (Debian: sudo apt-get install chromium) and try again, or leave those tests out with")
    say(".venv/bin/python -m pytest -m 'not browser and not long'")
    return 1


if __name__ == "__main__":
    sys.exit(main())
