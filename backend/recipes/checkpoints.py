"""Checkpoints that are whole or not there.

The trainer writes `checkpoint-N` file by file. A kill in between leaves a half, so `seal` notes names and sizes in a
last file once everything has reached the disk, and only what agrees with that note is resumed from.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

SEAL = "complete.json"


def seal(checkpoint: Path) -> None:
    """Bring a written checkpoint to the disk and mark it as whole."""
    files = [path for path in checkpoint.rglob("*") if path.is_file() and path.name != SEAL]
    for path in files:
        sync(path)
    mark = checkpoint / f"{SEAL}.new"
    mark.write_text(json.dumps({str(path.relative_to(checkpoint)): path.stat().st_size for path in files}))
    sync(mark)
    mark.replace(checkpoint / SEAL)
    sync(checkpoint)


def whole(checkpoint: Path) -> bool:
    """Whether all its files are there in the sizes that were noted."""
    try:
        sizes = json.loads((checkpoint / SEAL).read_text())
        return bool(sizes) and all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def newest(folder: Path) -> Path | None:
    """The whole checkpoint of the highest step in `folder`. Those that are not whole are removed."""
    found: list[Path] = []
    for path in folder.glob("checkpoint-*"):
        if whole(path):
            found.append(path)
        else:
            shutil.rmtree(path)
    return max(found, key=step, default=None)


def step(checkpoint: Path | None) -> int:
    """`checkpoint-40` is of step 40; no checkpoint is of step 0."""
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0


def replace(new: Path, place: Path) -> None:
    """Put the folder `new` at `place`, whatever is there. After a kill `restore` puts it right."""
    for path in [new, *new.rglob("*")]:
        sync(path)
    old = place.with_name(f"{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if place.exists():
        place.rename(old)
    new.rename(place)
    sync(place.parent)
    shutil.rmtree(old, ignore_errors=True)


def restore(place: Path) -> None:
    """Undo what a kill in the middle of `replace` left behind."""
    old = place.with_name(f"{place.name}.old")
    if old.exists() and not place.exists():
        old.rename(place)
    shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(place.with_name(f"{place.name}.new"), ignore_errors=True)


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
