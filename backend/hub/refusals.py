"""What the Hub says no to, in words: each status with what it means and the next step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from backend.errors import BadInput, Gated, HubError, LabError, NotFound

if TYPE_CHECKING:
    from backend.catalog import Catalog

SIGN_IN = "Sign in at the top of the page; on a server of your own, set HF_TOKEN or run `hf auth login`."


def client(catalog: Catalog) -> Any:
    """The Hub's client, once the Hub has said a word. Raises HubError (hub.unreachable)."""
    try:
        return catalog.ask_hub("the Hub")
    except HubError as error:
        raise _unreachable() from error


def signed_out() -> HubError:
    return HubError("You are not signed in to Hugging Face.", SIGN_IN, "hub.signed_out")


@contextmanager
def refusals(name: str) -> Iterator[None]:
    """Errors of huggingface_hub about `name` become ours; others pass. Raises HubError, Gated, NotFound, BadInput."""
    from httpx2 import HTTPError
    from huggingface_hub import errors as hub

    try:
        yield
    except LabError:
        raise
    except hub.GatedRepoError as error:
        raise Gated(
            f"{name} is gated: its owner wants its terms accepted first.",
            f"Sign in, accept them at https://huggingface.co/{name}, then try again.",
        ) from error
    except hub.HFValidationError as error:
        raise BadInput(
            f"{name[:80]!r} can't be the name of a repository.",
            "Write it as owner/name, in letters, digits, '-', '_' and '.'.",
            "hub.name",
        ) from error
    except hub.RevisionNotFoundError as error:
        raise NotFound(f"{name} has no such revision.", "Choose a branch, tag or commit it has.") from error
    except (hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled) as error:
        raise _unreachable() from error
    except hub.HfHubHTTPError as error:
        raise status(error.response.status_code, name) from error
    except (HTTPError, ConnectionError, TimeoutError) as error:
        raise _unreachable() from error


def status(number: int, name: str) -> LabError:
    """What an answer with this status about `name` means."""
    if number == 401:
        return HubError(
            f"The Hub does not take this sign-in for {name} (status 401): it may have ended, or {name} is not there.",
            SIGN_IN,
            "hub.signin",
        )
    if number == 402:
        return HubError(
            f"The account can't pay for {name} (status 402).",
            "Add credits at https://huggingface.co/settings/billing, or choose cheaper hardware.",
            "hub.payment",
        )
    if number == 403:
        return HubError(
            f"This sign-in may not do that with {name} (status 403).",
            "Use a token with the scope for it, or ask the repository's owner.",
            "hub.forbidden",
        )
    if number == 404:
        return NotFound(
            f"The Hub has no {name}, or it is private.",
            "Check the spelling; sign in for a private one.",
            "hub.unknown",
        )
    if number == 409:
        return BadInput(f"The name {name} is taken (status 409).", "Choose another name.", "hub.taken")
    if number == 429:
        return HubError("The Hub asks for fewer requests (status 429).", "Wait a minute, then try again.", "hub.busy")
    if number >= 500:
        return HubError(
            f"The Hub is in trouble itself (status {number}).",
            "Nothing is lost here; try again in a minute.",
            "hub.down",
        )
    return HubError(f"The Hub answered with status {number} about {name}.", "Try again in a minute.", "hub.error")


def _unreachable() -> HubError:
    return HubError(
        "The Hub can't be reached.", "What is on this machine still works; try again in a minute.", "hub.unreachable"
    )
