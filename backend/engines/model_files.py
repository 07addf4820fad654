"""The files of models and adapters: where they are, fetched once, known again by their stamp."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backend.engines.memory import SPARE, in_words, out_of_memory
from backend.errors import BadInput, NoRoom, NotFound
from backend.recipes.loading import hub_errors
from backend.starter import locate

Stamp = tuple[tuple[str, int, int], ...]
Say = Callable[[str], None]
_WANTED = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.tiktoken"]
_UNWANTED = ["*/*", "consolidated*"]


def silent(text: str) -> None:
    """Says nothing."""


def fetch(name: str, make_room: Callable[[str, int], None] = lambda name, need: None, say: Say = silent) -> Path:
    """The local folder of a model or adapter: the starter's, one that is there, or a copy of the Hub's.

    `make_room` is told the bytes of weights before they are fetched. Raises NotFound, Gated, HubError, NoRoom.
    """
    folder = Path(locate(name, say=say))
    if folder.is_dir():
        return folder
    if folder.is_absolute():
        raise NotFound(f"There is no folder {name}.", "Choose one from the list, or give a Hub id as owner/name.")
    with hub_errors(name):
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import DryRunError

        try:
            plan = snapshot_download(name, allow_patterns=_WANTED, ignore_patterns=_UNWANTED, dry_run=True)
        except DryRunError:  # the Hub does not answer: what the cache has must do
            plan = []
        make_room(name, sum(file.file_size or 0 for file in plan if file.filename.endswith(".safetensors")))
        announce(name, sum(file.file_size or 0 for file in plan if file.will_download), say)
        return Path(snapshot_download(name, allow_patterns=_WANTED, ignore_patterns=_UNWANTED))


def announce(name: str, missing: int, say: Say) -> None:
    """Tell of a download of `missing` bytes into the Hub's cache. Raises NoRoom where the disk is too full for it."""
    from huggingface_hub import constants

    if not missing:
        return
    cache = Path(constants.HF_HUB_CACHE)
    cache.mkdir(parents=True, exist_ok=True)
    if missing + SPARE > (free := shutil.disk_usage(cache).free):
        raise NoRoom(
            f"{name} is a download of {in_words(missing)}, and the disk has {in_words(free)} left.",
            "Choose a smaller model, or clear the cache.",
        )
    say(f"Fetching {name}, {in_words(missing)}.")


def head_of(path: Path) -> dict[str, Any]:
    """What a safetensors file holds, from its head: {name: {dtype, shape, data_offsets}}.

    Raises ValueError for one that is cut, or is none.
    """
    whole = path.stat().st_size
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        try:
            head: dict[str, Any] = json.loads(file.read(size)) if size <= whole else {"": None}
            head.pop("__metadata__", None)
            end = max((one["data_offsets"][1] for one in head.values()), default=0)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise ValueError(f"{path.name} is no safetensors file, or only a part of one") from error
    if 8 + size + end > whole:
        raise ValueError(f"{path.name} is only a part of a safetensors file: {whole} of {8 + size + end} bytes")
    return head


def stamp_of(folder: Path) -> Stamp:
    """What changes when files in `folder` are replaced; nothing when it is gone."""
    found = []
    for pattern in ("*.json", "*.jinja", "*.safetensors", "*.model"):
        for path in folder.glob(pattern):
            try:
                stat = path.stat()
            except OSError:  # being replaced this moment
                continue
            found.append((path.name, stat.st_mtime_ns, stat.st_size))
    return tuple(sorted(found))


@contextmanager
def reading(name: str, role: str = "as a chat model") -> Iterator[None]:
    """What the loaders say of files that they can't use becomes BadInput."""
    try:
        with hub_errors(name):
            yield
    except (ValueError, KeyError, TypeError, AttributeError, ImportError) as error:
        if out_of_memory(error):  # an ImportError too: "failed to map segment from shared object"
            raise MemoryError(str(error)) from error
        raise BadInput(
            f"transformers can't load {name} {role}: {first_line(error)}.", "Choose another model."
        ) from error


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:300]
