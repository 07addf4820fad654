"""What ZeroGPU lends a visitor: how much is left, what its refusals mean, and what to do about them."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from backend.errors import Refused

ANONYMOUS, FREE, PRO = 120, 300, 2400  # seconds a day
_FRESH = 30.0  # seconds that an answer of the Hub is good for
_DAY = 24 * 3600.0


@dataclass(frozen=True)
class Quota:
    """Seconds a day, those left, and when they come back (since the epoch); `known` when the Hub has told so."""

    total: int
    left: int
    resets: float | None = None
    known: bool = False
    signed_in: bool = False

    @property
    def words(self) -> str:
        """`3 min 10 s of your 5 min left today`."""
        about = "" if self.known else "about "
        return f"{about}{span(self.left)} of your {span(self.total)} left today"

    @property
    def more(self) -> str:
        """What would give more."""
        if not self.signed_in:
            return f"Signed in it is {span(FREE)} a day, with PRO {span(PRO)}."
        return f"With PRO it is {span(PRO)} a day." if self.total < PRO else ""


class Quotas:
    """Quotas by owner. `token` gives an owner's sign-in, '' for none; `ask` asks the Hub with it."""

    def __init__(
        self, token: Callable[[str], str] = lambda owner: "", ask: Callable[[str], Quota | None] | None = None
    ) -> None:
        self.token = token
        self._ask = ask or _ask
        self._told: dict[str, tuple[float, Quota]] = {}
        self._spent: dict[str, tuple[float, float]] = {}  # since when, and seconds
        self._lock = threading.Lock()

    def of(self, owner: str) -> Quota:
        """What `owner` has. Of those the Hub does not tell about: what is usual, less what was used here."""
        now = time.time()
        with self._lock:
            at, held = self._told.get(owner, (0.0, None))
        if held and now - at < _FRESH:
            return held
        token = self.token(owner)
        found = self._ask(token) if token else None
        if found is None:
            since, spent = self._spent.get(owner, (now, 0.0))
            signed_in = owner.startswith("user-")
            total = FREE if signed_in else ANONYMOUS
            left = total if now - since > _DAY else max(0, round(total - spent))
            found = Quota(total, left, since + _DAY if spent else None, False, signed_in)
        with self._lock:
            self._told[owner] = (now, found)
        return found

    def spent(self, owner: str, seconds: float) -> None:
        """So long the GPU was held for `owner`."""
        now = time.time()
        with self._lock:
            since, before = self._spent.get(owner, (now, 0.0))
            self._spent[owner] = (now, seconds) if now - since > _DAY else (since, before + seconds)
            self._told.pop(owner, None)

    def refused(self, owner: str, why: Refused) -> None:
        """A refusal tells what is left better than we could reckon."""
        if why.left is None:
            return
        held = self.of(owner)
        told = Quota(held.total, why.left, time.time() + why.wait, True, held.signed_in)
        with self._lock:
            self._told[owner] = (time.time(), told)


def _ask(token: str) -> Quota | None:
    """The Hub's own word, if the sign-in may ask (it takes the scope read-billing)."""
    from huggingface_hub import get_zero_gpu_quota
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    try:
        told = get_zero_gpu_quota(token=token)
    except (HfHubHTTPError, OfflineModeIsEnabled, OSError):
        return None
    resets = told.resets_at.timestamp() if told.resets_at else None
    return Quota(round(told.base), round(told.remaining), resets, True, True)


def refusal(title: str, message: str) -> Refused:
    """ZeroGPU's refusal in our words: what happened, and what to do."""
    here = "Or let this machine's CPU do it, which takes longer and costs nothing."
    if title == "ZeroGPU quota exceeded" and (figures := re.search(r"\((\d+)s requested vs\. (\d+)s left\)", message)):
        asked, left = int(figures[1]), int(figures[2])
        wait = _wait(message)
        kind = "free" if "free ZeroGPU" in message else "pro" if "Pro ZeroGPU" in message else ""
        more = {
            "": f"Sign in for {span(FREE)} a day.",
            "free": f"PRO has {span(PRO)} a day: huggingface.co/pro.",
            "pro": "Credits buy more: huggingface.co/settings/billing.",
        }[kind]
        return Refused(
            f"Your ZeroGPU time does not reach: {span(asked)} are asked for, {span(left)} are left.",
            f"More comes in {span(wait)}. {more} {here}",
            "zerogpu.quota",
            left=left,
            wait=wait,
            asked=asked,
        )
    if title == "ZeroGPU quota exceeded" and "reached its GPU limit" in message:
        return Refused(
            "ZeroGPU does not know whose time to take: this request came without a visitor.",
            f"Open the page itself and sign in. {here}",
            "zerogpu.unknown",
            wait=60,
        )
    if title == "ZeroGPU quota exceeded" and "runs limit" in message:
        return Refused(
            "ZeroGPU lets you begin no more calls today.", f"Try again tomorrow. {here}", "zerogpu.runs", wait=3600
        )
    if title == "ZeroGPU queue timeout" or "No GPU was available after" in message:
        return Refused(
            "No GPU became free within a minute.", f"Try again in a moment. {here}", "zerogpu.queue", wait=20
        )
    if title == "ZeroGPU illegal duration":
        asked = int(found[1]) if (found := re.search(r"\((\d+)s\)", message)) else 0
        return Refused(
            f"ZeroGPU lends no {span(asked)} in one piece to you.",
            f"Ask for less: a shorter answer, or shorter slices (ATELIER_SLICE). {here}",
            "zerogpu.duration",
            wait=0,
        )
    if title == "ZeroGPU pending credits exceeded":
        return Refused(
            "Too much of your ZeroGPU credit is at work in other calls.",
            f"Wait until one of them has ended. {here}",
            "zerogpu.pending",
            wait=30,
        )
    if "Expired" in message:
        return Refused(
            "Your page's leave to use ZeroGPU has expired.", "Press again; if that fails, reload the page.",
            "zerogpu.expired", wait=2,
        )  # fmt: skip
    if title == "ZeroGPU worker error":
        if "aborted" in message:
            return Refused(
                "ZeroGPU took the GPU back, most often because the time asked for was over.",
                "What was said or saved until then stays. Ask for less at once, or press Continue.",
                "zerogpu.aborted",
                wait=2,
            )
        return Refused(f"The work on the GPU broke off: {message}.", "Try again; the Space's log tells more.", wait=10)
    if "Connection closed by visitor" in message:
        return Refused("The page was closed while it waited for a GPU.", "Open it again.", "zerogpu.left", wait=2)
    return Refused(f"ZeroGPU has no GPU for this now: {message or title}.", f"Try again in a minute. {here}", wait=60)


def _wait(message: str) -> float:
    """Seconds in `Try again in 1 day, 5:23:11.`"""
    found = re.search(r"Try again in (?:(\d+) days?, )?(\d+):(\d+):(\d+)", message)
    if not found:
        return 600.0
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def span(seconds: float) -> str:
    """`55 s`, `2 min 45 s`, `5 min`, `3 h 20 min`."""
    whole = max(0, round(seconds))
    hours, minutes, rest = whole // 3600, whole % 3600 // 60, whole % 60
    parts = [
        f"{hours} h" if hours else "",
        f"{minutes} min" if minutes else "",
        f"{rest} s" if rest and not hours else "",
    ]
    return " ".join(part for part in parts if part) or "0 s"
