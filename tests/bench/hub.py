"""Against the Hub of this machine: a listing of 1,000 repositories, and transfers beside the `hf` command."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.localhub import ANN

REPEATS, SIZE, WHO = 6, 400_000_000, "visitor-ann"
# The server is a process of its own: in ours it would share the interpreter with what is measured.
SERVE = """
import os, sys, time
from tests.localhub import serving
with serving() as hub:
    for number in range(1000):
        hub.add("models", f"ann/m{number}")
    hub.add("datasets", "ann/big", {"big.bin": os.urandom(int(sys.argv[1]))})
    hub.add("datasets", "ann/up")
    print(hub.url, flush=True)
    sys.stdin.read()
"""


def measure() -> list[dict[str, Any]]:
    with server() as url, tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        env = os.environ | {
            "HF_ENDPOINT": url, "HF_TOKEN": ANN, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(place / "hf"),
            "HF_HUB_DISABLE_PROGRESS_BARS": "1", "ATELIER_HOME": str(place / "home"),
        }  # fmt: skip
        code = f"from tests.bench.hub import ours; ours({SIZE})"
        told = subprocess.run(
            [sys.executable, "-c", code],
            env=env,
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    listing, download, their_download, upload, their_upload = map(float, told.stdout.split()[-5:])
    rows = [{
        "what": "listing 1,000 repositories", "figure": listing * 1000, "unit": "ms", "requirement": "≤ 500 ms",
        "passed": listing <= 0.5,
    }]  # fmt: skip
    ways = {"download": "`hf download` and `hf cache verify`", "upload": "`hf upload`"}
    for what, mine, theirs in (("download", download, their_download), ("upload", upload, their_upload)):
        figure, comparison = SIZE / mine / 1e6, SIZE / theirs / 1e6
        rows.append({
            "what": f"{what} of {SIZE / 1e6:.0f} MB, checksums compared", "figure": figure, "unit": "MB/s",
            "against": ways[what], "comparison": comparison, "ratio": figure / comparison,
            "requirement": "≥ 0.95 ×", "passed": figure >= 0.95 * comparison,
        })  # fmt: skip
    return rows


@contextmanager
def server() -> Iterator[str]:
    command = [sys.executable, "-c", SERVE, str(SIZE)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def ours(size: int) -> None:
    """In a process whose Hub is the local one: prints the five medians, in seconds."""
    from backend.lab import Lab
    from backend.settings import Settings

    lab = Lab.open(Settings.read(), lambda settings: ())
    lab.hub.account.who(WHO)
    cache = Path(os.environ["HF_HOME"]) / "hub"
    file = Path(os.environ["HF_HOME"]).parent / "up.bin"
    hf = str(Path(sys.executable).with_name("hf"))

    def transfer(begin: Callable[[], str]) -> None:
        id = begin()
        while next(one for one in lab.hub.transfers.list(WHO) if one["id"] == id)["state"] == "running":
            time.sleep(0.01)
        one = next(one for one in lab.hub.transfers.list(WHO) if one["id"] == id)
        assert one["state"] == "finished", one

    def command(*words: str) -> None:
        subprocess.run([hf, *words, "--repo-type", "dataset"], check=True, capture_output=True)

    ways: tuple[tuple[str, Callable[[], Any]], ...] = (
        ("list", lambda: lab.hub.repositories.mine(WHO, fresh=True)),
        ("down", lambda: transfer(lambda: lab.hub.transfers.download(WHO, "dataset", "ann/big"))),
        ("their down", lambda: (command("download", "ann/big"), command("cache", "verify", "ann/big"))),
        ("up", lambda: transfer(lambda: lab.hub.transfers.upload(WHO, "dataset", "ann/up", {"up.bin": file}))),
        ("their up", lambda: command("upload", "ann/up", str(file), "up.bin")),
    )
    took: dict[str, list[float]] = {name: [] for name, _ in ways}
    for turn in range(REPEATS + 1):  # the first warms up; who comes second is helped by memory just freed
        for name, way in ways if turn % 2 else ways[::-1]:
            shutil.rmtree(cache, ignore_errors=True)
            if "up" in name:
                file.write_bytes(os.urandom(size))  # another file each time: what is there is not sent again
            os.sync()  # else the disk still writes what the one before left
            begun = time.perf_counter()
            way()
            if turn:
                took[name].append(time.perf_counter() - begun)
    lab.close()
    print(*(statistics.median(some) for some in took.values()))
