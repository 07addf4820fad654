"""Answers, event by event: of the engine beside the server, or of a provider."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from backend import events as ev
from backend.door import broken, door
from backend.engines.tasks import MANY, TASKS, whole
from backend.errors import LabError
from backend.recipes.provider import NAME

if TYPE_CHECKING:
    from backend.lab import Lab


class Streaming:
    """Closing what streams stops the answer within a step."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._salt = secrets.token_bytes(16)

    def stream(self, engine: str, request: Mapping[str, Any], owner: str) -> Generator[ev.Event, None, None]:
        """Events of one answer. Closing the generator stops it within a step. A failure is raised as LabError."""
        try:
            params = whole(engine, dict(request)) if engine in TASKS else dict(request)
            if engine == "image":
                yield from self._drawn(params, owner)
                return
            self._lab.rules.answer(params, owner)
            if NAME.fullmatch(str(params.get("model") or "").strip()):
                yield from self._lab.remote.stream(engine, params, self._lab.token(owner))
                return
            params["model"] = self._lab.catalog.model(str(params.get("model") or ""), owner)
            params["adapter"] = self._lab.catalog.adapter(str(params.get("adapter") or ""), owner)
            yield from self._answered(engine, params, owner)
        except LabError:
            raise
        except Exception as error:
            raise broken(error, "stream") from error

    @door
    def inspect(self, request: Mapping[str, Any], owner: str) -> dict[str, Any]:
        """The templated prompt of `messages`, its token count and the model's context: {prompt, tokens, context}."""
        answer: dict[str, Any] = {}
        for event in self._lab.stream("inspect", request, owner):
            if isinstance(event, ev.Finished):
                answer = event.values
        return answer

    @door
    def fit(self, model: str, owner: str, tokens: int = 4096) -> dict[str, Any]:
        """Whether a model fits here with a conversation of `tokens`, told before it is loaded.

        {parameters, bytes, packed_bytes, precision, context, context_bytes, free, fits, advice}, sizes in bytes; empty
        for a model at a provider.
        """
        if NAME.fullmatch(model.strip()):
            return {}
        answer: dict[str, Any] = {}
        for event in self._lab.stream("fit", {"model": model, "tokens": tokens}, owner):
            if isinstance(event, ev.Finished):
                answer = event.values
        return answer

    def vectors(self, texts: Sequence[str], owner: str) -> list[list[float]]:
        """The embedder's vectors of texts, a few at a time."""
        found: list[list[float]] = []
        for begin in range(0, len(texts), MANY):
            for event in self._lab.stream("feature-extraction", {"texts": [*texts[begin : begin + MANY]]}, owner):
                if isinstance(event, ev.Finished):
                    found += event.values["vectors"]
        return found

    def _answered(self, engine: str, params: dict[str, Any], owner: str) -> Generator[ev.Event, None, None]:
        who = owner if self._lab.lending.on else self._alias(owner)
        for event in self._lab.engine.stream(engine, params, owner=who):
            if isinstance(event, ev.Failed):
                raise LabError(event.message, event.hint, event.code)
            yield event

    def _drawn(self, request: Mapping[str, Any], owner: str) -> Generator[ev.Event, None, None]:
        for event in self._answered("image", self._lab.pictures.asked(request, owner), owner):
            yield event
            if isinstance(event, ev.Produced) and event.kind == "picture" and (said := self._lab.pictures.bound(owner)):
                yield ev.Logged(text=said)

    def _alias(self, owner: str) -> str:
        """What the engine knows an owner by: the same while this server lives, and no name."""
        return hashlib.blake2b(owner.encode(), key=self._salt, digest_size=8).hexdigest()
