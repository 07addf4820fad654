"""What the owner of a Space lets visitors do, by the Space's variables. The owner may do everything."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from typing import Any

from backend.errors import BadInput, NotYours
from backend.settings import Settings
from backend.starter import EMBEDDER_ID, IMAGE_ID, MODEL_ID
from backend.store import Store

_OURS = (MODEL_ID, EMBEDDER_ID, IMAGE_ID)
_OWN = ("run/", "/", ".")  # an earlier run's, whose base was allowed; a folder, which only those at the machine name


class Rules:
    """Every method raises what a visitor is told, or does nothing."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self._settings = settings
        self._store = store

    def model(self, name: str, owner: str) -> None:
        """Raises BadInput."""
        allowed = self._settings.models
        if not allowed or name in ("", *_OURS) or name.startswith(_OWN) or self._settings.owns(owner):
            return
        if not any(fnmatch(name.lower(), pattern.lower()) for pattern in allowed):
            raise BadInput(
                f"{name[:80]} is not among the models of this Space.",
                f"Choose one of {', '.join(allowed)}, or duplicate the Space: yours has all.",
                "model.off",
            )

    def answer(self, params: Mapping[str, Any], owner: str) -> None:
        """Raises BadInput."""
        self.model(str(params.get("model") or "").strip(), owner)
        most, asked = self._settings.answer_tokens, params.get("max_new_tokens")
        if most and isinstance(asked, int | float) and asked > most and not self._settings.owns(owner):
            raise BadInput(
                f"max_new_tokens is {asked:.0f}; this Space writes at most {most} for a visitor.",
                f"Use {most}, or duplicate the Space.",
                "answer.length",
            )

    def train(self, owner: str) -> None:
        """Raises NotYours, BadInput."""
        if self._settings.owns(owner):
            return
        if self._settings.training == "owner":
            raise NotYours(
                "Only its owner starts runs on this Space.", "Duplicate the Space: there it is you.", "training.off"
            )
        if self._settings.training == "signed-in" and not owner.startswith("user-"):
            raise NotYours(
                "Runs on this Space are for those who signed in.", "Press Sign in, then Run again.", "training.sign_in"
            )
        most = self._settings.runs_at_once
        if most and self._at_once(owner) >= most:
            raise BadInput(
                f"{most} run{'s' * (most != 1)} of yours wait or work already, as many as this Space allows.",
                "Wait for an end, stop one, or duplicate the Space.",
                "training.many",
            )

    def _at_once(self, owner: str) -> int:
        return sum(self._store.run(name).job.owner == owner for name, _ in self._store.line())
