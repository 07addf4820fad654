"""A chat model at an Inference Provider, asked many questions at once: what `answering.Answerer` is for a model here.

Such a model is named `owner/name:provider`. The token of whoever started the run comes in the environment
(LENT_TOKEN), for this process alone; it goes into the requests' header and nowhere else.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from backend.errors import BadInput, Gated, HubError, LabError, NotFound
from backend.recipes.answering import Interrupted, Row, Stopped
from backend.recipes.questions import Text
from backend.settings import LENT_TOKEN

NAME = re.compile(r"([\w.\-]{1,96}/[\w.\-]{1,96}):([\w\-]{1,40})")
ROUTER = "https://router.huggingface.co/v1"
AT_ONCE = 8  # requests under way
_PATIENCE = 120.0  # seconds for an answer
_ASKED = 4.0  # seconds for the list of prices
_AGAIN = (1.0, 2.0, 4.0, 8.0)  # seconds before asking again, where the provider is busy or broken


class Provider:
    """`place` is `owner/name:provider`. Raises Gated without a token."""

    device = "provider"

    def __init__(self, place: str, stopped: Stopped) -> None:
        from huggingface_hub import InferenceClient

        token = os.environ.get(LENT_TOKEN, "")
        if not token:
            raise Gated(
                f"{place} runs at a provider, on your own account, and your sign-in has not reached this run.",
                "Sign in, then press Resume; what was answered is kept.",
                "provider.sign_in",
            )
        self.place, self.stopped = place, stopped
        self.client: Any = InferenceClient(provider="auto", token=token, timeout=_PATIENCE)
        self.prices = _prices(place)  # dollars for a token in and out

    def close(self) -> None:
        self.client.close()

    def likelihoods(self, *_: Any) -> Iterator[Any]:
        raise BadInput(f"{self.place} {NO_CHANCES}.", "Choose other metrics, or a model that runs here.")

    def answers(
        self,
        prompts: Sequence[Text],
        longest: int,
        stop: str = "",
        temperature: float = 0.0,
        seeds: Sequence[int] | None = None,
    ) -> Iterator[list[tuple[int, Row]]]:
        """As the Answerer's: (place of the prompt, {answer, tokens, seconds, dollars}), as they come.

        A row that fails has {error}. Raises Interrupted; Gated and HubError where no row could be answered.
        """
        waiting = iter(range(len(prompts)))
        with ThreadPoolExecutor(AT_ONCE) as pool:
            under_way: dict[Future[Row], int] = {}
            try:
                while True:
                    while len(under_way) < AT_ONCE and (place := next(waiting, None)) is not None:
                        seed = seeds[place] if seeds else 0
                        under_way[pool.submit(self._ask, prompts[place], longest, stop, temperature, seed)] = place
                    if not under_way:
                        return
                    done, _ = wait(under_way, timeout=0.5, return_when=FIRST_COMPLETED)
                    if self.stopped():
                        raise Interrupted
                    if done:
                        yield [(under_way.pop(one), one.result()) for one in done]
            finally:
                for one in under_way:
                    one.cancel()

    def _ask(self, prompt: Text, longest: int, stop: str, temperature: float, seed: int) -> Row:
        """One answer; asked again while the provider is busy. Raises LabError for what would befall every row."""
        import httpx2
        from huggingface_hub.errors import HfHubHTTPError

        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        error: Exception | None = None
        for pause in (0.0, *_AGAIN):
            end = time.monotonic() + pause
            while time.monotonic() < end and not self.stopped():
                time.sleep(0.1)
            if self.stopped():
                return {"error": "stopped"}
            begun = time.perf_counter()
            try:
                found = self.client.chat_completion(
                    messages, model=self.place, max_tokens=longest, stop=[stop] if stop else None,
                    temperature=temperature, seed=seed,
                )  # fmt: skip
                return self._row(found, time.perf_counter() - begun)
            except HfHubHTTPError as refused:
                error = refused
                status = refused.response.status_code
                if fatal := _fatal(status, self.place):
                    raise fatal from None
                if status != 429 and status < 500:
                    break
            except (httpx2.HTTPError, OSError) as broken:
                error = broken
        return {"error": f"{type(error).__name__}: {str(error).strip().splitlines()[-1][:200]}"}

    def _row(self, found: Any, seconds: float) -> Row:
        usage = found.usage
        given, made = (int(getattr(usage, f"{kind}_tokens", 0) or 0) for kind in ("prompt", "completion"))
        row: Row = {
            "answer": (found.choices[0].message.content or "").strip(),
            "tokens": made,
            "seconds": round(seconds, 6),
            "confidence": None,
        }
        if self.prices:
            row["dollars"] = round(given * self.prices[0] + made * self.prices[1], 10)
        return row


NO_CHANCES = "runs at a provider, which tells no likelihoods"


def _prices(place: str) -> tuple[float, float] | None:
    """Dollars for a token in and one out, by the router's own list; None where it tells none."""
    import httpx2
    from huggingface_hub import get_session

    model, _, provider = place.partition(":")
    try:
        rows = get_session().get(f"{ROUTER}/models", timeout=_ASKED).raise_for_status().json()["data"]
        offers = next(row["providers"] for row in rows if row["id"] == model)
        price = next(one["pricing"] for one in offers if one["provider"] == provider)
        return float(price["input"]) / 1e6, float(price["output"]) / 1e6
    except (httpx2.HTTPError, OSError, ValueError, KeyError, TypeError, StopIteration):
        return None


def _fatal(status: int, place: str) -> LabError | None:
    """What befalls every row alike."""
    match status:
        case 401 | 403:
            return Gated(
                f"The provider does not take your sign-in for {place} (status {status}).",
                "Sign in again, and allow inference, then press Resume.",
                "provider.sign_in",
            )
        case 402:
            return HubError(
                "Your account has no credits left for Inference Providers (status 402).",
                "Buy some at https://huggingface.co/settings/billing, then press Resume.",
                "provider.credits",
            )
        case 404:
            return NotFound(f"No provider offers {place}.", "Choose another from the list.", "provider.unknown")
    return None
