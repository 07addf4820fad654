"""An engine that answers from a script, so that what the page and the API do with an answer is quick to see.

`python -m tests.ui.scripted` serves the whole app over it, with a target that plays its runs at once.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from PIL import Image

from backend import events as ev
from backend.engines.client import EngineProcess
from backend.engines.image import ImageParams
from backend.engines.picture import metadata, write
from backend.lab import Lab
from backend.settings import Settings
from backend.store import Store
from backend.targets.fake import Fake

ROOM = 2048  # words that it reads
ROOT = Path(__file__).resolve().parents[2]


class Scripted:
    """Stands where EngineProcess stands: repeats the last message word by word, one each `step` seconds.

    A message of one word has it do something else: `die`, go on `forever`, tell what it was `asked`, or how many
    answers were `closed` before their end, or be `cut` short of whole JSON. More than `ROOM` words are too many, and
    the model `broken` fails where others answer. Asked for alternatives, it tells one beside each word.
    A task tells what it was asked.
    """

    def __init__(self, step: float = 0.005, env: Mapping[str, str] | None = None) -> None:
        self.step = step
        self.closed = 0
        self.pid: int | None = None
        self.busy = 0

    def start(self) -> None:
        """It is always there."""

    def stop(self) -> None:
        """It holds nothing."""

    def stream(self, engine: str, params: Mapping[str, Any], owner: str = "") -> Generator[ev.Event, None, None]:
        if engine == "image":
            yield from _drawn(params)
            return
        if "messages" not in params and engine != "complete":
            yield ev.Finished(reason="stop", values={"asked": dict(params)})
            return
        told = str(params["messages"][-1]["content"]) if "messages" in params else str(params["prompt"])
        other = {"asked": [json.dumps(params)], "closed": [str(self.closed)], "forever": ["again"] * 1_000_000}
        values: dict[str, float] = {}
        try:
            length = sum(len(one["content"].split()) for one in params.get("messages", []))
            if engine == "inspect":
                yield ev.Finished(
                    reason="stop", values={"prompt": json.dumps(params), "tokens": length, "context": ROOM}
                )
                return
            yield ev.Logged(text="Loading the model")
            if length > ROOM:
                yield ev.Failed(code="context.overflow", message=f"It has {length} tokens.", hint="Shorten it.")
            if told == "die" or str(params.get("model")).endswith("/broken"):
                yield ev.Failed(code="engine.died", message="The engine is gone.", hint="Send it again.")
            yield ev.Started(info={"context": ROOM, "prompt_tokens": 40})
            words = other.get(told, told.split(" "))
            for count, word in enumerate(words[: int(params.get("max_new_tokens", 256))], 1):
                time.sleep(self.step)
                likely = [[word, 0.75], ["other", 0.25]] if params.get("alternatives") else []
                chances = [{"text": word + " ", "p": 0.75, "top": likely}] if likely else []
                yield ev.Wrote(text=word + " ", chances=chances)
                values = {"tokens": count, "seconds_to_first_token": self.step, "tokens_per_second": 1 / self.step}
                yield ev.Measured(step=count, values=values)
            cut = told == "cut"
            yield ev.Finished(reason="length" if cut else "stop", values=values | ({"complete": False} if cut else {}))
        except GeneratorExit:
            self.closed += 1
            raise


def _drawn(params: Mapping[str, Any]) -> Iterator[ev.Event]:
    """A red picture that carries what was asked."""
    asked = ImageParams(**params)
    settings = asked.settings(width=8, height=8, guidance=asked.guidance or 0)
    name = f"{time.time_ns()}.png"
    file = write(Image.new("RGB", (8, 8), "red"), Path(asked.folder) / name, metadata(settings))
    yield ev.Produced(kind="picture", name=name, file=str(file), data=settings)
    yield ev.Finished(reason="stop", values={"pictures": 1})


def lab(**env: str) -> Lab:
    """A real Lab with that engine and the fake target. `env` names ATELIER_HOME."""
    settings = Settings.read(env)
    return Lab(settings, Store(settings.home), [Fake()], cast(EngineProcess, Scripted()))


@contextmanager
def served(home: Path) -> Iterator[str]:
    """The address of that app in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        env = os.environ | {"ATELIER_HOME": str(home), "GRADIO_SERVER_PORT": str(free.getsockname()[1])}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.ui.scripted"], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            line = next(line for line in process.stdout if line.startswith("Atelier is at http"))
            yield line.split()[-1]
        finally:
            process.terminate()


if __name__ == "__main__":
    from ui.shell import serve

    serve(lab(**os.environ))
