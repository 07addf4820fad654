"""What the tests share: a data folder of their own, the starter, a browser, and real servers that are cleared away."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from playwright.sync_api import Browser, sync_playwright

from tests import chromium

ROOT = Path(__file__).resolve().parents[1]
SECRETS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH")
PLACES = ("PORT", "GRADIO_SERVER_PORT", "GRADIO_SERVER_NAME", "GRADIO_SHARE", "SPACE_ID", "ATELIER_MEMORY_LIMIT")

# Before any library reads them: nobody's token, no calls home.
for name in SECRETS + PLACES:
    os.environ.pop(name, None)
os.environ["HF_TOKEN_PATH"] = os.devnull
os.environ["HF_HUB_DISABLE_TELEMETRY"] = os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data folder of this test; not made yet."""
    folder = tmp_path / "home"
    monkeypatch.setenv("ATELIER_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def starter() -> Path:
    """The folder of the embedded model, fetched when it is not on this machine yet."""
    from backend.starter import MODEL_ID, locate

    return Path(locate(MODEL_ID))


@pytest.fixture(scope="session")
def tiny_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a text-to-image pipeline of random weights; 32×32 pixels."""
    from tests.tiny_images import tiny_pipeline

    return tiny_pipeline(tmp_path_factory.mktemp("tiny") / "image")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The Chromium that `make test` found; ask it for `new_page()` or `new_context(viewport=…)`, and close that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ATELIER_HOME", raising=False)  # it belongs to no test, so no test's end may clear it away
        playwright = sync_playwright().start()
        found = chromium.launch(playwright)
    yield found
    found.close()
    playwright.stop()


class Server:
    """The real `app.py` in a process of its own, on a free port that it keeps over restarts."""

    def __init__(self, home: Path, env: dict[str, str]) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.home = home
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = os.environ | {"ATELIER_HOME": str(home), "GRADIO_SERVER_PORT": str(self.port)} | env
        self.output = home.parent / f"server-{self.port}.log"
        self.process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        """All that it has printed, over restarts."""
        return self.output.read_text(errors="replace")

    def start(self, timeout: float = 120) -> Server:
        """Start it and wait until it is healthy."""
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "app.py"], cwd=ROOT, env=self.env, stdout=output, stderr=subprocess.STDOUT
            )
        deadline = time.monotonic() + timeout
        while not self.healthy():
            assert self.process.poll() is None, f"app.py ended with {self.process.returncode}:\n{self.log[-4000:]}"
            assert time.monotonic() < deadline, f"app.py is not healthy after {timeout} s:\n{self.log[-4000:]}"
            time.sleep(0.1)
        return self

    def healthy(self) -> bool:
        """Whether `GET /health` answers 200."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self, timeout: float = 30) -> None:
        """Ask it to end, as Ctrl+C or a Space's restart does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout)

    def kill9(self) -> None:
        """Take it away without a word; its runs go on."""
        self.process.kill()
        self.process.wait(30)

    def restart(self) -> Server:
        """The same server again, on the same folder and port, whether it still lives or not."""
        self.stop()
        return self.start()


@pytest.fixture
def server(home: Path) -> Iterator[Callable[..., Server]]:
    """`server()` or `server(home=folder, NAME="value")` gives a started Server. At the end all its processes go."""
    started: list[Server] = []

    def make(home: Path = home, **env: str) -> Server:
        started.append(Server(home, env))
        return started[-1].start()

    yield make
    for one in started:
        clear(one.home)
        one.process.wait(30)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, starter: Path) -> Iterator[Server]:
    """A started Server on a data folder of its own, for all tests of a file; the starter is there."""
    one = Server(tmp_path_factory.mktemp("site") / "home", {})
    yield one.start()
    clear(one.home)
    one.process.wait(30)


@pytest.fixture(scope="session", autouse=True)
def nothing_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run keepers are detached and would outlive the tests that began them."""
    yield
    clear(tmp_path_factory.getbasetemp())


def clear(folder: Path) -> None:
    """Kill every process whose ATELIER_HOME is `folder` or below it."""
    while alive := [process for process in psutil.process_iter() if belongs(process, folder)]:
        for process in alive:
            process.kill()
        psutil.wait_procs(alive, timeout=10)


def belongs(process: psutil.Process, folder: Path) -> bool:
    try:
        if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
            return False
        return Path(process.environ().get("ATELIER_HOME", "/")).is_relative_to(folder)
    except psutil.Error:
        return False
