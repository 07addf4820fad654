"""Chat models that run elsewhere: Hugging Face Inference Providers, through the Hub's router, in the web process.

Such a model is named `owner/name:provider`, as the router names it. What an answer gives are the same events as the
engine's. The token is the visitor's own; it goes into the request's header and nowhere else.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pprint import pformat
from typing import Any

from backend import events as ev
from backend.engines.text import ChatParams
from backend.errors import BadInput, Gated, HubError, LabError, NotFound
from backend.recipes.params import check
from backend.recipes.provider import NAME, ROUTER

log = logging.getLogger("atelier.remote")
_PATIENCE = 90.0  # seconds for the next piece
_PULSE = 0.5  # seconds of silence after which it is asked whether the answer is still wanted
_FRESH = 600.0  # seconds that a list of models is believed
_ASKED = 4.0  # seconds for that list


@dataclass(frozen=True)
class Offer:
    """A model at a provider. Prices in dollars for a million tokens; 0 where none is told."""

    model: str
    provider: str
    context: int = 0
    price_in: float = 0.0
    price_out: float = 0.0

    @property
    def name(self) -> str:
        return f"{self.model}:{self.provider}"

    @property
    def note(self) -> str:
        """`together · $0.18 in, $0.60 out per million tokens`."""
        price = f"${self.price_in:.2f} in, ${self.price_out:.2f} out per million tokens"
        return f"{self.provider} · {price if self.price_in or self.price_out else 'price not told'}"


class Remote:
    """The router: which models it offers, and their answers. Every method may be called from any thread."""

    def __init__(self, router: str = ROUTER) -> None:
        self._router = router
        self._known: dict[str, Offer] = {}
        self._asked = -_FRESH
        self._lock = threading.Lock()

    def offers(self, query: str, limit: int = 12) -> list[Offer]:
        """Live offers whose model's name holds `query`; [] when the router does not answer."""
        with self._lock:
            if time.monotonic() - self._asked > _FRESH:
                self._asked = time.monotonic()
                self._known = self._read() or self._known
        found = [offer for offer in self._known.values() if query.lower() in offer.model.lower()]
        return found[:limit]

    def _read(self) -> dict[str, Offer]:
        import httpx2
        from huggingface_hub import constants, get_session

        if constants.HF_HUB_OFFLINE:
            return {}
        try:
            answer = get_session().get(f"{self._router}/models", timeout=_ASKED)
            answer.raise_for_status()
            rows = answer.json()["data"]
        except (httpx2.HTTPError, OSError, ValueError, KeyError, TypeError) as error:
            log.info("no list of provider models: %s", type(error).__name__)
            return {}
        offers = [
            Offer(
                str(row["id"]), str(one["provider"]), int(one.get("context_length") or 0), *_prices(one.get("pricing"))
            )
            for row in rows
            for one in row.get("providers") or []
            if one.get("status", "live") == "live"
        ]
        return {offer.name: offer for offer in offers}

    def stream(self, engine: str, params: Mapping[str, Any], token: str) -> Generator[ev.Event, None, None]:
        """The answer of `params["model"]` as the engine's events. Closing it ends the request within half a second.

        Raises BadInput, Gated (no token, or not a good one), NotFound, HubError.
        """
        found = NAME.fullmatch(str(params["model"]))
        if found is None or engine != "text":
            raise BadInput(
                f"{params['model']} runs at a provider, which answers chats only.",
                "Choose a model on this machine for the rest.",
                "provider.chat_only",
            )
        request = check(ChatParams, dict(params))
        if request.adapter or request.alternatives:
            what = "an adapter" if request.adapter else "the chances of tokens"
            raise BadInput(f"{request.model} runs at a provider, without {what}.", "Leave that out.")
        if not token.startswith("hf_"):  # none, or not the Hub's, which the router would not know
            raise Gated(
                f"{request.model} runs at a provider, on your own account.",
                "Sign in, or choose a model that runs here.",
                "provider.sign_in",
            )
        return self._answer(request, found[2], token)

    def _answer(self, request: ChatParams, provider: str, token: str) -> Generator[ev.Event, None, None]:
        from huggingface_hub import InferenceClient

        asked, first, count = time.perf_counter(), 0.0, 0
        usage: dict[str, int] = {}
        reason = ""
        offer = self._known.get(request.model)
        yield ev.Logged(text=f"Asking {provider}")
        client: Any = InferenceClient(provider="auto", token=token, timeout=_PATIENCE)

        def values(now: float) -> dict[str, Any]:
            tokens, spent = usage.get("completion_tokens") or count, now - first
            told: dict[str, Any] = {
                "tokens": tokens,
                "prompt_tokens": usage.get("prompt_tokens", 0),
                "seconds_to_first_token": round((first or now) - asked, 3),
                "tokens_per_second": round((tokens - 1) / spent, 2) if first and tokens > 1 and spent > 0 else 0.0,
            }
            if offer and usage and (offer.price_in or offer.price_out):
                cost = told["prompt_tokens"] * offer.price_in + tokens * offer.price_out
                told["dollars"] = round(cost / 1e6, 8)
            return told

        pieces = _Reader(client, request)
        try:
            with _told(request.model, provider):
                for piece in pieces:
                    if piece is None:
                        yield ev.Logged(text=f"Waiting for {provider}")
                        continue
                    if piece.usage:
                        usage = {key: int(piece.usage.get(key) or 0) for key in ("completion_tokens", "prompt_tokens")}
                    for choice in piece.choices[:1]:
                        reason = choice.finish_reason or reason
                        if text := choice.delta.content or "":
                            if not first:
                                first = time.perf_counter()
                                context = offer.context if offer else 0
                                yield ev.Started(
                                    info={"model": request.model, "provider": provider, "context": context}
                                )
                            count += 1
                            yield ev.Wrote(text=text)
        finally:
            client.close()
        if not reason:
            raise HubError(
                f"{provider} stopped in the middle of its answer.", "What it said stays; ask again.", "provider.stopped"
            )
        closing = values(time.perf_counter())
        if request.json_schema:
            closing["complete"] = reason != "length"
        yield ev.Measured(step=count, values={key: float(value) for key, value in values(time.perf_counter()).items()})
        yield ev.Finished(reason="length" if reason == "length" else "stop", values=closing)


_CODE = """from huggingface_hub import InferenceClient

client = InferenceClient(provider="auto")  # asks with the token of `hf auth login`, or of HF_TOKEN
messages = {messages}
stream = client.chat_completion(
    messages,
    model={model!r},
    max_tokens={longest},
    temperature={temperature},
    top_p={top_p},
    seed={seed},
{shape}    stream=True,
)
for piece in stream:
    for choice in piece.choices:
        print(choice.delta.content or "", end="", flush=True)
print()
"""


def code(request: ChatParams) -> str:
    """Python that prints what the provider answers."""
    shape = ""
    if request.json_schema:
        schema = pformat(json.loads(request.json_schema), sort_dicts=False)
        named = f'{{"name": "answer", "schema": {schema}, "strict": True}}'
        shape = f'    response_format={{"type": "json_schema", "json_schema": {named}}},\n'
    return _CODE.format(
        messages=pformat(request.turns, sort_dicts=False, width=100),
        model=request.model,
        longest=request.max_new_tokens,
        temperature=request.temperature,
        top_p=request.top_p,
        seed=request.seed,
        shape=shape,
    )


class _Reader:
    """Reads the answer in a thread; iterating gives its pieces, and None for each half second of silence."""

    def __init__(self, client: Any, request: ChatParams) -> None:
        self._arrived: queue.SimpleQueue[Any] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(client, request), daemon=True, name="provider").start()

    def _read(self, client: Any, request: ChatParams) -> None:
        extra: dict[str, Any] = {"top_k": request.top_k} if request.top_k else {}
        if request.repetition_penalty != 1:
            extra["repetition_penalty"] = request.repetition_penalty
        shape: dict[str, Any] | None = None
        try:
            if request.json_schema:
                named = {"name": "answer", "schema": json.loads(request.json_schema), "strict": True}
                shape = {"type": "json_schema", "json_schema": named}
            for piece in client.chat_completion(
                request.turns,
                model=request.model,
                stream=True,
                stream_options={"include_usage": True},
                max_tokens=request.max_new_tokens,
                temperature=request.temperature,
                top_p=request.top_p,
                seed=request.seed,
                response_format=shape,
                extra_body=extra or None,
            ):
                self._arrived.put(piece)
            self._arrived.put(StopIteration())
        except Exception as error:
            self._arrived.put(error)

    def __iter__(self) -> Iterator[Any]:
        while True:
            piece = None
            with suppress(queue.Empty):
                piece = self._arrived.get(timeout=_PULSE)
            if isinstance(piece, StopIteration):
                return
            if isinstance(piece, Exception):
                raise piece
            yield piece


@contextmanager
def _told(model: str, provider: str) -> Iterator[None]:
    """What the client raises becomes ours."""
    import httpx2
    from huggingface_hub.errors import HfHubHTTPError, TextGenerationError

    try:
        yield
    except HfHubHTTPError as error:
        raise _refused(error.response.status_code, model, provider, error) from None
    except TextGenerationError as error:
        raise HubError(
            f"{provider} broke off: {_line(error)}", "What it said stays; ask again.", "provider.stopped"
        ) from None
    except (httpx2.TimeoutException, TimeoutError):
        raise HubError(
            f"{provider} has been silent for {_PATIENCE:.0f} s.",
            "Ask again, or choose another provider.",
            "provider.silent",
        ) from None
    except (httpx2.HTTPError, ConnectionError) as error:
        raise HubError(
            f"The connection to {provider} broke ({type(error).__name__}).",
            "Ask again in a moment.",
            "provider.stopped",
        ) from None
    except json.JSONDecodeError as error:
        raise BadInput(f"json_schema, or what {provider} sent, is not JSON: {error}.", "Correct the schema.") from None


def _refused(status: int, model: str, provider: str, error: Exception) -> LabError:
    match status:
        case 401 | 403:
            return Gated(
                f"{provider} does not take your sign-in for {model} (status {status}).",
                "Sign in again, and allow inference; a token needs the scope 'Make calls to Inference Providers'.",
                "provider.sign_in",
            )
        case 402:
            return HubError(
                "Your account has no credits left for Inference Providers (status 402).",
                "Buy some at https://huggingface.co/settings/billing, or choose a model that runs here.",
                "provider.credits",
            )
        case 404:
            return NotFound(f"{provider} does not offer {model}.", "Choose another from the list.", "provider.unknown")
        case 429:
            return HubError(f"{provider} asks for fewer requests (status 429).", "Wait a minute.", "provider.busy")
        case 400 | 422:
            return BadInput(f"{provider} refused the request: {_line(error)}", "Change the settings and try again.")
    return HubError(
        f"{provider} failed (status {status}).", "Try again in a minute, or choose another provider.", "provider.broken"
    )


def _line(error: Exception) -> str:
    """The last line of what it says, where servers put their own words; never more than 200 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:200] if lines else type(error).__name__


def _prices(told: Any) -> tuple[float, float]:
    try:
        return float(told["input"]), float(told["output"])
    except (KeyError, TypeError, ValueError):
        return 0.0, 0.0
