"""Who answers on ZeroGPU: the GPU, as long as it is lent, else this machine's CPU."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from typing import Any

from backend import events as ev
from backend.engines.client import EngineProcess
from backend.errors import Refused
from backend.quota import Quotas
from backend.speeds import Speeds, answered
from backend.starter import IMAGE_ID

_LENT = ("text", "complete", "image")  # engines whose models are worth a GPU
_STEPS = 30  # of a picture whose model says how many
_ON_CPU = 2_000_000_000  # weights of a model that this machine's CPU answers with, when ZeroGPU doesn't
Ask = Callable[[str, Mapping[str, Any], int], Generator[ev.Event, None, None]]


class Answers:
    """What the Lab asks in place of the engine's process. `ask` lends the GPU for one answer, or raises Refused."""

    def __init__(self, process: EngineProcess, ask: Ask, quotas: Quotas, speeds: Speeds) -> None:
        self.process = process
        self.ask = ask
        self.quotas = quotas
        self.speeds = speeds

    @property
    def pid(self) -> int | None:
        """Of the process that answers on the CPU."""
        return self.process.pid

    @property
    def busy(self) -> int:
        """How many answers are open there."""
        return self.process.busy

    def start(self) -> None:
        self.process.start()

    def stop(self) -> None:
        self.process.stop()

    def seconds(self, params: Mapping[str, Any]) -> int:
        """What an answer asks ZeroGPU for."""
        if "count" in params:  # pictures
            return self.speeds.seconds(_name(params), int(params["count"]) * int(params["steps"] or _STEPS))
        return self.speeds.seconds(_name(params), int(params.get("max_new_tokens") or 256))

    def stream(self, engine: str, params: Mapping[str, Any], owner: str = "") -> Generator[ev.Event, None, None]:
        """As `EngineProcess.stream`. What ZeroGPU refuses is answered by the CPU, if that can; else raises Refused.

        The starter draws on the CPU, which takes seconds, and nobody's quota.
        """
        if engine in _LENT and params.get("model") != IMAGE_ID:
            begun = False
            try:
                for event in self._lent(engine, params, owner):
                    begun = begun or isinstance(event, ev.Wrote | ev.Produced)
                    yield event
                return
            except Refused as why:
                self.quotas.refused(owner, why)
                if begun or engine == "image" or not self._fits(params):
                    raise
                yield ev.Logged(text=f"{why.message} This machine's CPU answers instead")
        alias = f"{hash(owner):x}"  # the same while this server lives, and no name
        yield from self.process.stream(engine, params, alias)

    def _lent(self, engine: str, params: Mapping[str, Any], owner: str) -> Generator[ev.Event, None, None]:
        began = 0.0
        answer = self.ask(engine, params, self.seconds(params))
        try:
            for event in answer:
                began = began or time.monotonic()
                if isinstance(event, ev.Finished) and (measured := answered(event.values)):
                    self.speeds.learn(_name(params), **measured)
                yield event
        finally:
            answer.close()
            if began:
                self.quotas.spent(owner, time.monotonic() - began)

    def _fits(self, params: Mapping[str, Any]) -> bool:
        """Whether this machine's CPU can answer in its place."""
        for event in self.process.stream("fit", {"model": params.get("model"), "tokens": 4096}):
            if isinstance(event, ev.Finished):
                return bool(event.values.get("fits")) and int(event.values.get("parameters") or 0) <= _ON_CPU
        return False


def _name(params: Mapping[str, Any]) -> str:
    """What a speed is remembered by."""
    size = f"{params['width']}x{params['height']}" if "count" in params else ""
    parts = (str(params.get("model") or ""), str(params.get("adapter") or ""), size)
    return " + ".join(part for part in parts if part)
