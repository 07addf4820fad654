"""An answer as it grows: the fold over an engine's events, and several of them side by side."""

from __future__ import annotations

import html
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from backend import events as ev
from backend.errors import BadInput, LabError

PACE = 1 / 15  # seconds between two looks at an answer; more often than that only tires the browser
_PULSE = 0.25  # seconds after which a silent engine is looked at again, so that Stop never waits for it

LONGEST = 4_000_000  # characters of a message; more is an accident
ENDS = {
    "length": "longest answer reached",
    "context": "the model can read no more",
    "closed": "stopped",
    "error": "ended by an error",
}

Stream = Generator[ev.Event, None, None]


class Fold(Protocol):
    """What grows by events. `ended` is '' while it goes on."""

    ended: str

    def add(self, event: ev.Event) -> None: ...

    def fail(self, error: LabError) -> None: ...


F = TypeVar("F", bound=Fold)


@dataclass
class Answer:
    """What is known of one answer.

    `ended` is '' while it goes on, then `stop`, `length`, `context`, `closed` or `error`. `way` says how it is made;
    `chances` has {text, p, top: [[text, p], …]} for each token, where the engine was asked for alternatives.
    """

    text: str = ""
    doing: str = "Waiting for the engine"
    ended: str = ""
    prompt_tokens: int = 0
    context: int = 0
    steps: int = 0
    way: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    chances: list[dict[str, Any]] = field(default_factory=list)
    error: LabError | None = None

    def add(self, event: ev.Event) -> None:
        """Take one more event in."""
        match event:
            case ev.Logged():
                self.doing = event.text
            case ev.Started():
                self.doing = "Reading the prompt"
                self.context = int(event.info.get("context") or 0)
                self.prompt_tokens = int(event.info.get("prompt_tokens") or 0)
                self.way = _way(event.info)
            case ev.Progressed():
                self.doing = f"Reading the prompt: {event.done:,.0f} of {event.total:,.0f} tokens"
            case ev.Wrote():
                self.text += event.text
                self.steps += 1
                self.chances += getattr(event, "chances", None) or []
            case ev.Measured():
                self.values |= event.values
            case ev.Finished():
                self.values |= event.values
                self.ended = event.reason or "stop"
            case ev.Cancelled():
                self.ended = "closed"

    def fail(self, error: LabError) -> None:
        """It ended by an error; what was said stays."""
        self.error, self.ended = error, "error"

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


def _way(info: Mapping[str, Any]) -> str:
    """How the engine computes the answer, in words."""
    path, why = str(info.get("path", "")), info.get("why_plain")
    if path.startswith("packed"):
        return f"{path} weights"
    return f"by transformers' own modules: {why}" if why else ""


def meter(answer: Answer) -> str:
    """How much of the model's context is taken, and how it is computed, as HTML; '' while nobody knows."""
    if not answer.context:
        return ""
    used = answer.prompt_tokens + answer.tokens
    way = f" · {html.escape(answer.way)}" if answer.way else ""
    return (
        f"<meter min=0 max={answer.context} high={int(answer.context * 0.8)} value={used} aria-hidden=true></meter> "
        f"{used:,} of {answer.context:,} tokens{way}"
    )


def together(
    streams: Sequence[Stream], begun: Sequence[str] = (), stop: threading.Event | None = None
) -> Generator[list[Answer], None, None]:
    """The answers so far of all `streams`, as `folded` gives them; `begun` are the texts that they go on from."""
    return folded([Answer(text=text) for text in begun or [""] * len(streams)], streams, stop)


def folded(
    answers: list[F], streams: Sequence[Stream], stop: threading.Event | None = None
) -> Generator[list[F], None, None]:
    """Read all `streams` at once, each into its fold; give these at most 15 times a second, and at least 4.

    Each stream has a thread, as reading one blocks until its next token. Closing this closes them, each within
    a step, and so does `stop`, after which the last look is given. A LabError of a stream becomes its answer's `error`
    and the others go on.
    """
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
    # In a copy of this context: ZeroGPU looks there for the visitor's request.
    pulls = [pool.submit(copy_context().run, pull, side, stream) for side, stream in enumerate(streams)]
    open_ = len(streams)
    try:
        while open_:
            began = time.monotonic()
            with news:
                news.wait_for(lambda: arrived, _PULSE)
                batch = arrived[:]
                arrived.clear()
            for side, event in batch:
                if event is not None:
                    answers[side].add(event)
                    continue
                open_ -= 1
                if isinstance(error := pulls[side].exception(), LabError):
                    answers[side].fail(error)
                elif error:
                    raise error
            if stop and stop.is_set():
                for answer in answers:
                    answer.ended = answer.ended or "closed"
                open_ = 0
            yield answers
            if open_:
                time.sleep(max(0.0, PACE - (time.monotonic() - began)))
    finally:
        closed.set()
        pool.shutdown(wait=False)


def question(text: str | None) -> str:
    """What a person typed, ready to send. Raises BadInput when there is nothing, or more than any model reads."""
    if not text or not text.strip():
        raise BadInput("The message is empty; write something first.")
    if len(text) > LONGEST:
        raise BadInput(
            f"The message has {len(text):,} characters; at most {LONGEST:,} are taken.",
            "Send a part of it, or open it as a file in the Data tab.",
        )
    return text.strip()
