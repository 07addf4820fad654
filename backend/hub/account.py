"""Whose sign-in is used at the Hub, where it comes from, and what it may do."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any

from backend.door import door
from backend.errors import LabError
from backend.hub.refusals import client, refusals, signed_out

if TYPE_CHECKING:
    from backend.lab import Lab

_KEPT = 300.0  # seconds that an answer holds: the Hub wants this asked seldom


class Account:
    """Tokens are looked up for each call and kept nowhere; answers are kept under their digest."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self._known: dict[str, tuple[float, dict[str, Any]]] = {}

    def token(self, owner: str) -> str:
        """The sign-in of `owner`, '' for none: their own, or this machine's where nobody else reaches it."""
        return self.lab.token(owner)

    def needed(self, owner: str) -> str:
        """The same. Raises HubError (hub.signed_out) where there is none."""
        if not (token := self.token(owner)):
            raise signed_out()
        return token

    @door
    def who(self, owner: str) -> dict[str, Any]:
        """{name, plan, scopes, organisations, way, token}; {} for nobody. Raises HubError when the Hub says no.

        `way` is where the sign-in comes from: page, environment or login; `token` is what its owner called it.
        """
        if not (token := self.token(owner)):
            return {}
        key = hashlib.sha256(token.encode()).hexdigest()
        at, known = self._known.get(key, (-_KEPT, {}))
        if time.monotonic() - at < _KEPT:
            return known | {"way": self.way(token)}
        with refusals("your account"):
            known = _told(client(self.lab.catalog).whoami(token=token))
        self._known = {key: (time.monotonic(), known)} | dict(list(self._known.items())[:256])
        return known | {"way": self.way(token)}

    def way(self, token: str) -> str:
        """Where this token comes from."""
        from huggingface_hub import get_token

        if self.lab.settings.public or token != get_token():
            return "page"
        return "environment" if self.lab.settings.env.get("HF_TOKEN") == token else "login"

    @door
    def name(self, owner: str) -> str:
        """Their name at the Hub. Raises HubError."""
        self.needed(owner)
        return str(self.who(owner)["name"])

    def reached(self) -> bool:
        """Whether the Hub answers; believed for a minute."""
        try:
            client(self.lab.catalog)
        except LabError:
            return False
        return True


def _told(answer: dict[str, Any]) -> dict[str, Any]:
    """What is shown of the Hub's answer."""
    token = (answer.get("auth") or {}).get("accessToken") or {}
    scoped = (token.get("fineGrained") or {}).get("scoped") or []
    scopes = sorted({str(one) for entry in scoped for one in entry.get("permissions", ())})
    role = str(token.get("role") or "")
    return {
        "name": str(answer["name"]),
        "plan": "PRO" if answer.get("isPro") else "free",
        "pays": bool(answer.get("canPay")),
        "scopes": scopes or [role] if role or scopes else [],
        "organisations": [str(one["name"]) for one in answer.get("orgs") or ()],
        "token": str(token.get("displayName") or ""),
    }
