"""The process in which the engines live. It speaks JSON lines: requests on stdin, events on stdout.

In:   {"id": "a", "op": "stream", "engine": "text", "params": {…}, "owner": "…"}    an answer; its last event ends it
      {"id": "b", "op": "load", "engine": "text", "model": "…", "adapter": ""}    Logged, then Finished
      {"id": "a", "op": "close"}                                          the answer ends within one step: Cancelled
Out:  {"id": "a", "event": {"type": "Wrote", …}}                          the last is Finished, Failed or Cancelled

The first line out is Started with the id "", when requests can be answered. Requests may come before; the end of stdin
ends the process at once. Whatever else is printed goes to stderr.

One thread advances all open answers in turn, a step each; who has just come is first, so that a first word is soon. One
more loads models, so that answers go on meanwhile; one more computes answers whose steps are long; and one draws, a
picture of each owner in turn.
"""

from __future__ import annotations

import json
import os
import queue
import resource
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator
from functools import partial
from typing import IO, Any

from backend import events as ev
from backend.engines import openmp
from backend.engines.aside import Aside
from backend.engines.fit import FitEngine, FitParams
from backend.engines.image import ImageParams
from backend.engines.image_engine import ImageEngine
from backend.engines.line import Line
from backend.engines.memory import free_memory
from backend.engines.outbox import Outbox
from backend.engines.spread import compiled_on_a_gpu
from backend.engines.tasks_engine import engines
from backend.engines.text import ChatParams, CompleteParams, InspectParams, TextEngine
from backend.engines.turns import Turns
from backend.errors import BadInput
from backend.recipes.device import choose, find
from backend.recipes.params import check
from backend.settings import Settings

Work = Callable[[], None]


class Worker:
    """Open answers and how they are advanced."""

    def __init__(self, out: IO[str]) -> None:
        self._out = Outbox(out)
        self._inbox: queue.SimpleQueue[tuple[str, Work]] = queue.SimpleQueue()
        self._engines: dict[str, tuple[Any, Any]] = {}  # name: (engine, its kind of request)
        self._open: dict[str, Generator[ev.Event, None, None]] = {}
        self._fresh: deque[str] = deque()  # of those that have not begun; they are first
        self._turn: deque[str] = deque()  # of those that are not waiting for a model
        self._line = Line()  # of those that are, but for too many before them
        self._places: dict[str, int] = {}  # in the line, as those who wait were told
        self._loader = Aside("loader")
        self._beside = Aside("beside")  # for answers whose steps are long
        self._drawing = Aside("drawing")
        self._turns = Turns()  # of those that draw
        self._told_turns: dict[str, int] = {}

    def run(self, requests: IO[bytes], preload: bool = False) -> None:
        """Answer until `requests` ends; then the process ends too."""
        threading.Thread(target=self._listen, args=(requests,), daemon=True, name="requests").start()
        engine = TextEngine()
        quicken = compiled_on_a_gpu if Settings.read().compiled else _as_is
        self._engines = {
            "text": (engine, ChatParams),
            "complete": (engine, CompleteParams),
            "inspect": (engine, InspectParams),
            "fit": (FitEngine(engine.shelf), FitParams),
            "image": (ImageEngine(engine.shelf, quicken), ImageParams),
            **dict(engines(engine)),
        }
        self._out.say("", ev.Started(info=_warm_up()))  # takes seconds; requests wait in the inbox meanwhile
        if preload:
            self._attempt("preload", lambda: self._load("preload", {"engine": "text"}))
        while True:
            while not ((self._fresh or self._turn) and self._inbox.empty()):
                self._attempt(*self._inbox.get())
            self._step()

    def _listen(self, requests: IO[bytes]) -> None:
        for line in requests:
            try:
                message = json.loads(line)
                if not isinstance(message, dict) or not isinstance(message.get("id"), str):
                    raise ValueError("it is not an object with an id")
            except ValueError as error:
                shown = line[:80].decode("utf-8", "replace").strip()
                self._out.fail(
                    "", BadInput(f"The request {shown!r} can't be read: {error}.", "Send one JSON object a line.")
                )
            else:
                self._inbox.put((message["id"], partial(self._obey, message["id"], message)))
        os._exit(0)

    def _attempt(self, id: str, work: Work) -> None:
        try:
            work()
        except Exception as error:
            self._out.fail(id, error)

    def _obey(self, id: str, message: dict[str, Any]) -> None:
        match message.get("op"):
            case "stream":
                self._begin(id, message)
            case "load":
                self._load(id, message)
            case "warm":
                engine, _ = self._engine(id, message)
                # after what loads now; and in the thread that draws, so that two never hold the same pipelines
                self._loader.submit(self._drawing.submit, engine.warm)
            case "close":
                self._close(id)
            case other:
                raise BadInput(f"The operation {other!r} is unknown.", "Use stream, load, warm or close.")

    def _begin(self, id: str, message: dict[str, Any]) -> None:
        engine, kind = self._engine(id, message)
        params = check(kind, message.get("params") or {})
        owner = str(message.get("owner") or "")
        if isinstance(params, ImageParams):
            self._open[id] = engine.stream(params, partial(self._out.note, id))
            openmp.release()  # of this thread, for that which draws
            self._turns.enter(id, owner, params.model)
            self._drawing.submit(self._draw)
            self._tell_turns()
            return
        self._open[id] = engine.stream(params)
        enter = partial(self._enter, id, owner, partial(engine.places, params) if hasattr(engine, "places") else None)
        if engine.ready(params):
            enter()
        else:
            apart = partial(engine.apart, params) if hasattr(engine, "apart") else None
            load = partial(engine.prepare, params, partial(self._out.note, id))
            self._loader.submit(self._prepare, id, load, enter, apart)

    def _load(self, id: str, message: dict[str, Any]) -> None:
        engine, kind = self._engine(id, message)
        model = str(message.get("model") or kind.model_fields["model"].default)
        self._open[id] = _loaded(model)
        load = partial(engine.load, model, str(message.get("adapter") or ""), partial(self._out.note, id))
        thread = self._drawing if kind is ImageParams else self._loader
        thread.submit(self._prepare, id, load, partial(self._turn.append, id))

    def _engine(self, id: str, message: dict[str, Any]) -> tuple[Any, Any]:
        name = message.get("engine")
        if name not in self._engines:
            raise BadInput(f"There is no engine {name!r}.", f"Choose one of {', '.join(self._engines)}.")
        if id in self._open:
            raise BadInput(f"The id {id!r} is in use.", "Give each answer an id of its own.")
        return self._engines[name]

    def _enter(self, id: str, owner: str, places: Callable[[], int] | None) -> None:
        """Take turns with the others, or stand in line for that."""
        self._admit(self._line.enter(id, owner, places() if places else 1))

    def _leave(self, id: str) -> None:
        """Whoever waited for the place of an answer that has ended begins."""
        self._out.forget(id)
        self._admit(self._line.leave(id))

    def _admit(self, begun: list[str]) -> None:
        self._fresh.extend(begun)
        places = self._line.ahead()
        for id, ahead in places.items():
            if self._places.get(id) != ahead:
                self._out.note(id, f"{ahead} answer{'s' * (ahead != 1)} before yours")
        self._places = places

    def _prepare(self, id: str, load: Work, enter: Work, apart: Callable[[], bool] | None = None) -> None:
        """Runs in the loader's thread; what draws, in the thread that draws."""
        error: Exception | None = None
        beside = False
        if id in self._open:  # else it was closed while it waited
            try:
                load()
                beside = apart is not None and apart()
            except Exception as caught:
                error = caught
        self._inbox.put((id, partial(self._prepared, id, error, enter, beside)))

    def _prepared(self, id: str, error: Exception | None, enter: Work, beside: bool) -> None:
        if id not in self._open:
            return
        if error is not None:
            del self._open[id]
            raise error
        if beside:
            self._beside.submit(self._answer_beside, id, self._open[id])
        else:
            enter()

    def _answer_beside(self, id: str, answer: Generator[ev.Event, None, None]) -> None:
        """Runs in a thread of its own, one answer after the other. What is closed meanwhile ends at its next event."""
        try:
            while id in self._open:
                event = next(answer)
                if event.ends and self._open.pop(id, None) is None:
                    break
                if id in self._open or event.ends:
                    self._out.say(id, event)
        except Exception as error:
            if self._open.pop(id, None) is not None:
                self._out.fail(id, error)
        finally:
            answer.close()

    def _draw(self) -> None:
        """Runs in the drawing thread: one picture of who is next. What is closed meanwhile ends at its next event."""
        id = self._turns.next()
        if id is None:  # it was closed while it waited
            return
        self._tell_turns()
        ended, answer = True, self._open.get(id)
        last: Work | None = None  # said when the turn is over, so that who asks again then is not told to wait
        try:
            while answer is not None and id in self._open:
                event = next(answer)
                if isinstance(event, ev.Wrote):  # others may come first
                    ended = False
                    return
                if not event.ends:
                    self._out.say(id, event)
                elif self._open.pop(id, None) is not None:
                    last = partial(self._out.say, id, event)
        except Exception as error:
            if self._open.pop(id, None) is not None:
                last = partial(self._out.fail, id, error)
        finally:
            ended = ended or id not in self._open
            if ended and answer is not None:
                answer.close()
            self._turns.done(ended)
            if not ended:
                self._drawing.submit(self._draw)
            self._tell_turns()
            if last:
                last()

    def _tell_turns(self) -> None:
        """Tell who waits to draw where they stand."""
        places = self._turns.ahead()
        for id, ahead in places.items():
            if ahead and self._told_turns.get(id) != ahead:
                self._out.note(id, f"{ahead} request{'s' * (ahead != 1)} before yours")
        self._told_turns = places

    def _close(self, id: str) -> None:
        if answer := self._open.pop(id, None):  # else it has ended meanwhile
            self._out.tell(id)
            for turns in (self._fresh, self._turn):
                if id in turns:
                    turns.remove(id)
                    answer.close()
            if self._turns.leave(id):
                answer.close()
                self._tell_turns()
            self._out.say(id, ev.Cancelled(reason="closed"))
            self._leave(id)

    def _step(self) -> None:
        id = (self._fresh or self._turn).popleft()
        answer = self._open[id]
        try:
            event = next(answer)
        except Exception as error:
            del self._open[id]
            self._out.tell(id)
            self._out.fail(id, error)
            self._leave(id)
            return
        if isinstance(event, ev.Started):
            self._fresh.append(id)
        elif not event.ends:
            self._turn.append(id)
        if isinstance(event, ev.Wrote):
            self._out.hold(id, event, len(self._open))
        else:
            self._out.tell(id)
            self._out.say(id, event)
        if event.ends:
            del self._open[id]
            answer.close()
            self._leave(id)


def _loaded(model: str) -> Generator[ev.Event, None, None]:
    yield ev.Finished(reason=f"{model} is loaded")


def _warm_up() -> dict[str, Any]:
    """Import what the first answer needs; what this process has: pid, device, threads, free memory in bytes."""
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM  # noqa: F401 - seconds, once

    transformers.utils.logging.disable_progress_bar()
    device = choose(find())
    torch.set_num_threads(device.threads)
    return {"pid": os.getpid(), "memory": free_memory(), **device.info()}


def _as_is(pipeline: Any, say: Callable[[str], None]) -> None:
    """Leave it."""


def _limit_memory(gigabytes: float) -> None:
    if gigabytes > 0:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (int(gigabytes * 1e9), hard))


def main() -> None:
    """Keep the real stdout for events and send every other print to stderr, before anything can print."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    # How long a thread that waits for work keeps its core: long enough for the next small operation, not for long.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    _limit_memory(Settings.read().memory_limit)
    Worker(out).run(sys.stdin.buffer, preload="--preload" in sys.argv[1:])


if __name__ == "__main__":
    main()
