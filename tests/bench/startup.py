"""From `python app.py` to the first 200 on `/`, beside a hello-world Gradio page; taken in turns, medians."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backend.starter import MODEL_ID, locate

ROOT = Path(__file__).resolve().parents[2]
HELLO = "import gradio as gr; gr.Interface(lambda name: f'Hello {name}!', 'text', 'text').launch()"
REPEATS = 5
LIMIT = 1.5


def measure() -> dict[str, Any]:
    locate(MODEL_ID)  # fetching it is another thing than starting
    ours, theirs = [], []
    for _ in range(REPEATS):
        theirs.append(seconds([sys.executable, "-c", HELLO]))
        ours.append(seconds([sys.executable, "app.py"]))
    figure, comparison = statistics.median(ours), statistics.median(theirs)
    return {
        "what": "app.py to the first page",
        "figure": figure,
        "unit": "s",
        "against": "hello-world Gradio",
        "comparison": comparison,
        "ratio": figure / comparison,
        "requirement": f"≤ {LIMIT} ×",
        "passed": figure <= LIMIT * comparison,
    }


def seconds(command: Sequence[str]) -> float:
    """How long `command` takes to serve its page."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home, tempfile.TemporaryFile() as output:
        env = {"ATELIER_HOME": home, "GRADIO_SERVER_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False"}
        start = time.perf_counter()
        server = subprocess.Popen(
            command, cwd=ROOT, env=os.environ | env, stdout=output, stderr=output, start_new_session=True
        )
        try:
            while not answers(port):
                if server.poll() is not None or time.perf_counter() - start > 120:
                    output.seek(0)
                    raise RuntimeError(f"{command[-1]} served no page:\n{output.read().decode()[-2000:]}")
                time.sleep(0.01)
            return time.perf_counter() - start
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
