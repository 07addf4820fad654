"""Runs that ask an Inference Provider in their owner's name, with the sign-in that is lent to them for it.

The token stays in this process's memory and reaches the run's own process by its environment; nothing writes it down.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from backend.errors import BadInput, Gated
from backend.jobs import Run
from backend.recipes.provider import NAME
from backend.settings import LENT_TOKEN
from backend.store import write
from backend.targets import Target


def providers(params: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    """The models at providers that params name; `names` is the recipe's."""
    for field, kind in names.items():
        value = params.get(field)
        for one in value if isinstance(value, list) else [value]:
            if kind == "answerer" and NAME.fullmatch(str(one)):
                yield str(one)


def check(params: Mapping[str, Any], names: Mapping[str, str], target: Target, token: str) -> None:
    """Before anything is queued. Raises BadInput where the target can't be lent to, Gated without a token."""
    model = next(providers(params, names), "")
    if model and not hasattr(target, "granted"):
        raise BadInput(f"{model} runs at a provider, which {target.name} can't ask.", "Choose another place.")
    if model and not token:
        raise Gated(
            f"{model} runs at a provider, on your own account.",
            "Sign in, or choose a model that runs here.",
            "provider.sign_in",
        )


def grant(run: Run, names: Mapping[str, str]) -> None:
    """Note that the process of `run`, and no other, gets its owner's token."""
    if next(providers(run.job.params, names), ""):
        write(run.folder / "grants.json", [*run.grants, LENT_TOKEN])


def granted(run: Run, token: str) -> dict[str, str]:
    """The token as the environment of that process, where it was noted and there is one."""
    return {LENT_TOKEN: token} if LENT_TOKEN in run.grants and token else {}
