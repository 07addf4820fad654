"""An answer as it grows: the fold over an engine's events, and several of them side by side."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from backend import events as ev
from backend.errors import BadInput

PACE = 1 / 15  # seconds between two looks at an answer; more often than that only tires the browser
_PULSE = 0.25  # seconds after which a silent engine is looked at again, so that Stop never waits for it

ENDS = {"length": "longest answer reached", "context": "the model can read no more", "closed": "stopped"}

Stream = Generator[ev.Event, None, None]


@dataclass
class Answer:
    """What is known of one answer. `ended` is '' while it goes on, then `stop`, `length`, `context` or `closed`."""

    text: str = ""
    doing: str = "Waiting for the engine"
    ended: str = ""
    prompt_tokens: int = 0
    context: int = 0
    steps: int = 0
    values: dict[str, Any] = field(default_factory=dict)

    def add(self, event: ev.Event) -> None:
        """Take one more event in."""
        match event:
            case ev.Logged():
                self.doing = event.text
            case ev.Started():
                self.doing = "Reading the prompt"
                self.context = int(event.info.get("context") or 0)
                self.prompt_tokens = int(event.info.get("prompt_tokens") or 0)
            case ev.Progressed():
                self.doing = f"Reading the prompt: {event.done:,.0f} of {event.total:,.0f} tokens"
            case ev.Wrote():
                self.text += event.text
                self.steps += 1
            case ev.Measured():
                self.values |= event.values
            case ev.Finished():
                self.values |= event.values
                self.ended = event.reason or "stop"
            case ev.Cancelled():
                self.ended = "closed"

    @property
    def tokens(self) -> int:
        """Written so far; while it goes on, the engine's own count comes only now and then."""
        told = int(self.values.get("tokens", 0))
        return told if self.ended else max(told, self.steps)

    @property
    def figures(self) -> str:
        """`0.12 s to first token · 24.1 tokens/s · 64 tokens`, as far as known."""
        first, speed = self.values.get("seconds_to_first_token"), self.values.get("tokens_per_second")
        parts = [
            f"{first:.2f} s to first token" if first is not None else "",
            f"{speed:.1f} tokens/s" if speed else "",
            f"{self.tokens:,} token{'s' * (self.tokens != 1)}" if self.tokens else "",
            f"${self.values['dollars']:.6f}" if self.values.get("dollars") else "",
            "" if self.values.get("complete", True) else "the JSON is incomplete",
            ENDS.get(self.ended, ""),
        ]
        return " · ".join(part for part in parts if part)


def together(streams: Sequence[Stream], begun: Sequence[str] = ()) -> Generator[list[Answer], None, None]:
    """Read all `streams` at once; give the answers so far at most 15 times a second, and at least 4.

    Each stream has a thread, as reading one blocks until its next token. Closing this closes them, each within
    a step. Raises what a stream raises. `begun` are the texts that they go on from.
    """
    answers = [Answer(text=text) for text in begun or [""] * len(streams)]
    arrived: list[tuple[int, ev.Event | None]] = []
    news, closed = threading.Condition(), threading.Event()

    def put(side: int, event: ev.Event | None) -> None:
        with news:
            arrived.append((side, event))
            news.notify()

    def pull(side: int, stream: Stream) -> None:
        try:
            with closing(stream):
                for event in stream:
                    put(side, event)
                    if closed.is_set():
                        return
        finally:
            put(side, None)

    pool = ThreadPoolExecutor(len(streams), "answer")
    pulls = [pool.submit(pull, side, stream) for side, stream in enumerate(streams)]
    open_ = len(streams)
    try:
        while open_:
            began = time.monotonic()
            with news:
                news.wait_for(lambda: arrived, _PULSE)
                batch = arrived[:]
                arrived.clear()
            for side, event in batch:
                if event is None:
                    open_ -= 1
                    pulls[side].result()
                else:
                    answers[side].add(event)
            yield answers
            if open_:
                time.sleep(max(0.0, PACE - (time.monotonic() - began)))
    finally:
        closed.set()
        pool.shutdown(wait=False)


def question(text: str) -> str:
    """What a person typed, ready to send. Raises BadInput when there is nothing."""
    if not text or not text.strip():
        raise BadInput("The message is empty; write something first.")
    return text.strip()


def prompt(chat: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The turns of a page's chat as an engine takes them: the notes under answers left out."""
    return [{"role": str(turn["role"]), "content": words(turn)} for turn in chat if not note(turn)]


def note(turn: Mapping[str, Any]) -> str:
    """The small print that a turn is, such as the figures under an answer; '' when somebody said it."""
    return str((turn.get("metadata") or {}).get("title") or "")


def words(turn: Mapping[str, Any]) -> str:
    """The text of one turn of the page, whether it comes as a string or in parts; undoes `shown`."""
    content = turn["content"]
    parts = [content] if isinstance(content, str) else content
    return _outside_code("".join(part if isinstance(part, str) else str(part.get("text", "")) for part in parts), _READ)


def shown(text: str) -> str:
    """Markdown in which HTML is seen as it was written, not drawn. Code is shown so anyway."""
    return _outside_code(text, _SHOW)


_CODE = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]+`)", re.DOTALL)
_SHOW = (re.compile(r"<(?=[a-zA-Z/!?])"), "&lt;")
_READ = (re.compile(r"&lt;(?=[a-zA-Z/!?])"), "<")


def _outside_code(text: str, change: tuple[re.Pattern[str], str]) -> str:
    pattern, other = change
    pieces = _CODE.split(text)
    return "".join(piece if index % 2 else pattern.sub(other, piece) for index, piece in enumerate(pieces))
