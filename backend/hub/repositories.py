"""Repositories on the Hub: one's own, those that are found, one as a page; made, renamed, shown, hidden, deleted."""

from __future__ import annotations

import hashlib
import re
import time
from typing import TYPE_CHECKING, Any

from backend.door import door
from backend.errors import BadInput, LabError
from backend.hub.account import Account
from backend.hub.refusals import client, refusals

if TYPE_CHECKING:
    from backend.lab import Lab

KINDS = ("model", "dataset", "space")
FOUND = 30
CARD = 40_000  # characters of a card that are shown
MOST = 5_000  # of one's own that are listed
TASKS = (
    "text-generation", "text-classification", "token-classification", "question-answering", "summarization",
    "translation", "fill-mask", "feature-extraction", "sentence-similarity", "zero-shot-classification",
    "image-classification", "image-to-text", "text-to-image", "automatic-speech-recognition", "text-to-speech",
)  # fmt: skip
LIBRARIES = ("transformers", "peft", "diffusers", "sentence-transformers", "gguf", "safetensors", "onnx", "timm")
LICENCES = (
    "apache-2.0",
    "mit",
    "bsd-3-clause",
    "cc-by-4.0",
    "cc-by-sa-4.0",
    "cc-by-nc-4.0",
    "openrail",
    "gemma",
    "llama3.2",
)
SIZES = {"0-0.5B": "max:500M", "0.5-2B": "min:500M,max:2B", "2-8B": "min:2B,max:8B", "8B and more": "min:8B"}
_NAME = re.compile(r"[\w.\-]{1,96}/[\w.\-]{1,96}")
_KEPT = 60.0  # seconds that a listing of one's own holds
_SHOWN = {
    "model": ["private", "likes", "downloads", "lastModified", "usedStorage", "gated", "pipeline_tag"],
    "dataset": ["private", "likes", "downloads", "lastModified", "usedStorage", "gated"],
    "space": ["private", "likes", "lastModified", "usedStorage", "sdk", "runtime"],
}


class Repositories:
    """Every call is made with the sign-in of the one who asks, and with none where they have none."""

    def __init__(self, lab: Lab, account: Account) -> None:
        self.lab = lab
        self.account = account
        self._mine: dict[tuple[str, str], tuple[float, list[dict[str, Any]]]] = {}

    @door
    def mine(self, owner: str, kind: str = "model", fresh: bool = False) -> list[dict[str, Any]]:
        """[{kind, name, private, gated, likes, downloads, updated, bytes, note}], last changed first.

        Raises HubError (hub.signed_out for nobody). An answer is kept for a minute, unless it is wanted `fresh`.
        """
        token, kind = self.account.needed(owner), _kind(kind)
        key = (hashlib.sha256(token.encode()).hexdigest(), kind)
        at, known = self._mine.get(key, (-_KEPT, []))
        if fresh or time.monotonic() - at > _KEPT:
            name = self.account.name(owner)
            api = client(self.lab.catalog)
            with refusals("your repositories"):
                listed = getattr(api, f"list_{kind}s")(author=name, expand=_SHOWN[kind], limit=MOST, token=token)
                known = [_row(kind, one) for one in listed]
            known.sort(key=lambda row: row["updated"], reverse=True)
            self._mine = {key: (time.monotonic(), known)} | dict(list(self._mine.items())[:256])
        return known

    @door
    def search(
        self,
        owner: str,
        kind: str = "model",
        words: str = "",
        task: str = "",
        library: str = "",
        licence: str = "",
        size: str = "",
    ) -> list[dict[str, Any]]:
        """As `mine`, most downloaded first (Spaces: most liked). `size` is one of SIZES, for models alone."""
        kind, filters = _kind(kind), [f"license:{licence}"] if licence else []
        more: dict[str, Any] = {"sort": "likes" if kind == "space" else "downloads"}
        shown = [one for one in _SHOWN[kind] if one != "usedStorage"]
        if kind == "model":
            filters += [library] if library else []
            more |= {"pipeline_tag": task or None, "num_parameters": _size(size)}
            shown += ["safetensors", "library_name"]
        elif kind == "dataset":
            more |= {"task_categories": task or None}
        api = client(self.lab.catalog)
        with refusals("the search"):
            listed = getattr(api, f"list_{kind}s")(
                search=words.strip() or None,
                filter=filters or None,
                limit=FOUND,
                expand=shown,
                token=self.account.token(owner) or False,
                **more,
            )
            return [_row(kind, one) for one in listed]

    @door
    def page(self, owner: str, kind: str, name: str, revision: str = "") -> dict[str, Any]:
        """One repository: as a row of `mine`, with {sha, card, licence, task, library, files: [{name, bytes}], mine}.

        Raises NotFound, Gated, HubError, BadInput.
        """
        kind, token = _kind(kind), self.account.token(owner) or False
        name = _named(name)
        api = client(self.lab.catalog)
        with refusals(name):
            told = api.repo_info(name, repo_type=kind, revision=revision or None, files_metadata=True, token=token)
        files = [{"name": one.rfilename, "bytes": one.size or 0} for one in told.siblings or ()]
        tags = list(told.tags or ())
        licence = next((one.partition(":")[2] for one in tags if one.startswith("license:")), "")
        row = _row(kind, told)
        return row | {
            "bytes": row["bytes"] or sum(one["bytes"] for one in files),
            "sha": told.sha or "",
            "files": sorted(files, key=lambda one: -one["bytes"]),
            "card": self._card(api, kind, name, told.sha or "main", token) if _has(files, "README.md") else "",
            "licence": licence,
            "task": str(getattr(told, "pipeline_tag", None) or ""),
            "library": str(getattr(told, "library_name", None) or ""),
            "mine": self.is_mine(owner, name),
            "adapter": _has(files, "adapter_config.json"),
            "base": _base(tags),
        }

    @door
    def create(self, owner: str, kind: str, name: str, private: bool = True) -> str:
        """Make an empty repository `name`, or `organisation/name`; gives its whole name. Raises BadInput when taken."""
        token, kind = self.account.needed(owner), _kind(kind)
        whole = _named(name.strip() if "/" in name else f"{self.account.name(owner)}/{name.strip()}")
        more = {"space_sdk": "gradio"} if kind == "space" else {}
        with refusals(whole):
            made = client(self.lab.catalog).create_repo(whole, repo_type=kind, private=private, token=token, **more)
        self._mine.clear()
        return str(made.repo_id)

    @door
    def rename(self, owner: str, kind: str, name: str, to: str) -> str:
        """Give it another name, or to another owner; gives the whole new name."""
        token, kind, name = self.account.needed(owner), _kind(kind), _named(name)
        whole = _named(to.strip() if "/" in to else f"{name.partition('/')[0]}/{to.strip()}")
        with refusals(whole):
            client(self.lab.catalog).move_repo(name, whole, repo_type=kind, token=token)
        self._mine.clear()
        return whole

    @door
    def show(self, owner: str, kind: str, name: str, private: bool) -> None:
        """Make it private, or public."""
        token, kind, name = self.account.needed(owner), _kind(kind), _named(name)
        with refusals(name):
            client(self.lab.catalog).update_repo_settings(name, repo_type=kind, private=private, token=token)
        self._mine.clear()

    @door
    def delete(self, owner: str, kind: str, name: str, typed: str) -> None:
        """Delete it for good. Raises BadInput unless `typed` is its whole name."""
        token, kind, name = self.account.needed(owner), _kind(kind), _named(name)
        if typed.strip() != name:
            raise BadInput(
                f"{typed.strip()[:80]!r} is not {name!r}, so nothing was deleted.",
                "Type the whole name, with its owner, to delete it.",
                "hub.unsure",
            )
        with refusals(name):
            client(self.lab.catalog).delete_repo(name, repo_type=kind, token=token)
        self._mine.clear()

    # -- below --------------------------------------------------------------------------------------------------

    @property
    def choices(self) -> dict[str, tuple[str, ...]]:
        """What a search can be narrowed by."""
        return {"task": TASKS, "library": LIBRARIES, "size": tuple(SIZES), "licence": LICENCES}

    def is_mine(self, owner: str, name: str) -> bool:
        """Whether it belongs to the one who asks, or to an organisation of theirs. Raises HubError."""
        if not self.account.token(owner):
            return False
        who = self.account.who(owner)
        return name.partition("/")[0] in (who["name"], *who["organisations"])

    def _card(self, api: Any, kind: str, name: str, revision: str, token: str | bool) -> str:
        """Its README below the settings; read, not cached, since a private one is its reader's alone."""
        from huggingface_hub import get_session, hf_hub_url
        from huggingface_hub.utils._headers import build_hf_headers
        from huggingface_hub.utils._http import hf_raise_for_status

        try:
            with refusals(name):
                url = hf_hub_url(name, "README.md", repo_type=kind, revision=revision, endpoint=api.endpoint)
                answer = get_session().get(
                    url, headers=build_hf_headers(token=token), follow_redirects=True, timeout=10
                )
                hf_raise_for_status(answer)
        except LabError as error:
            return f"*{error}*"
        text = str(answer.text[: 4 * CARD])
        if text.startswith("---"):
            text = text.partition("\n---")[2]
        return text.strip()[:CARD]


def _kind(kind: str) -> str:
    if kind not in KINDS:
        raise BadInput(f"There is no kind {kind[:40]!r} of repository.", f"Choose one of {', '.join(KINDS)}.")
    return kind


def _named(name: str) -> str:
    """Checked before it becomes part of an address."""
    if not _NAME.fullmatch(name.strip()):
        raise BadInput(
            f"{name.strip()[:80]!r} can't be the name of a repository.",
            "Write it as owner/name, in letters, digits, '-', '_' and '.'.",
            "hub.name",
        )
    return name.strip()


def _size(size: str) -> str | None:
    if size and size not in SIZES:
        raise BadInput(f"There is no size {size[:40]!r}.", f"Choose one of {', '.join(SIZES)}.")
    return SIZES[size] if size else None


def _base(tags: list[str]) -> str:
    """What it was tuned from, '' when it does not say; `base_model:adapter:NAME` says how, which we leave out."""
    found = (one.removeprefix("base_model:") for one in tags if one.startswith("base_model:") and one.count(":") == 1)
    return next(found, "")


def _has(files: list[dict[str, Any]], name: str) -> bool:
    return any(one["name"] == name for one in files)


def _row(kind: str, told: Any) -> dict[str, Any]:
    """A repository in a list."""
    runtime, weights = getattr(told, "runtime", None), getattr(told, "safetensors", None)
    notes = [getattr(told, "pipeline_tag", None), getattr(told, "sdk", None), getattr(runtime, "stage", None)]
    changed = getattr(told, "last_modified", None)
    return {
        "kind": kind,
        "name": str(told.id),
        "private": bool(told.private),
        "gated": bool(getattr(told, "gated", False)),
        "likes": int(told.likes or 0),
        "downloads": int(getattr(told, "downloads", 0) or 0),
        "updated": changed.timestamp() if changed else 0.0,
        "bytes": int(getattr(told, "used_storage", 0) or 0),
        "parameters": int(getattr(weights, "total", 0) or 0),
        "note": " · ".join(str(one) for one in notes if one),
    }
