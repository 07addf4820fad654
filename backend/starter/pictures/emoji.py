"""Emoji pictures with their names: what the image starter has seen."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from backend.errors import HubError

if TYPE_CHECKING:
    import numpy

PACKAGE, VERSION = "emoji-datasource-google", "16.0.0"
ARCHIVE = f"{PACKAGE}-{VERSION}.tgz"
SHA256 = "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438"
KINDS = ("Smileys & Emotion", "Animals & Nature", "Food & Drink")  # taken whole
PARTS = (  # of the other kinds: what is a thing that one can draw
    *("sky & weather", "transport-ground", "transport-air", "transport-water", "place-building", "place-geographic"),
    *("sport", "event", "game", "musical-instrument", "clothing", "household"),
)
ALSO = {  # what people call some of them, by their short names
    "smile": "smiling face", "smile cat": "smiling cat", "joy": "laughing face", "sob": "crying face",
    "rage": "angry face", "deciduous tree": "tree", "blossom": "flower", "bike": "bicycle",
    "birthday": "birthday cake", "hotdog": "hot dog", "fries": "french fries", "sunny": "sun",
    "zap": "lightning bolt", "droplet": "water drop", "tophat": "top hat", "mans shoe": "shoe",
    "athletic shoe": "sneaker", "shirt": "t shirt", "hocho": "knife", "hankey": "poo", "boom": "explosion",
    "european castle": "castle", "jack o lantern": "pumpkin", "coffee": "cup of coffee", "doughnut": "donut",
    "flying saucer": "ufo", "eyeglasses": "glasses", "billed cap": "cap", "gem": "diamond",
    "school satchel": "backpack", "chess pawn": "chess piece", "heart eyes": "face with heart eyes",
    "boat": "sailing boat", "crying cat face": "sad cat", "sunglasses": "cool face", "scream": "scared face",
    "thinking face": "thinking",
}  # fmt: skip
MORE = (  # with names of two words, too
    *("heart eyes", "heart eyes cat", "joy cat", "pouting cat", "smiling imp", "star struck", "partying face"),
    *("broken heart", "polar bear", "baby chick", "hatching chick", "tropical fish", "t rex", "cherry blossom"),
    *("palm tree", "evergreen tree", "potted plant", "ice cream", "chocolate bar", "wine glass", "bubble tea"),
    *("police car", "fire engine", "racing car", "traffic light", "full moon", "crescent moon", "sun with face"),
    *("ringed planet", "christmas tree", "teddy bear", "video game", "game die", "magic wand", "crystal ball"),
)


@dataclass(frozen=True)
class Emoji:
    """One picture: its names, the plainest first, the group it belongs to, and its file in the archive."""

    names: tuple[str, ...]
    group: str
    file: str


def fetch(folder: Path) -> Path:
    """The archive, brought by npm once and checked. Raises HubError."""
    path = folder / ARCHIVE
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryDirectory(dir=folder) as place:
                subprocess.run(
                    ["npm", "pack", f"{PACKAGE}@{VERSION}"], cwd=place, check=True, capture_output=True, text=True
                )
                (Path(place) / ARCHIVE).rename(path)
        except (OSError, subprocess.CalledProcessError) as error:
            why = str(getattr(error, "stderr", "") or error).strip().splitlines()[-1]
            raise HubError(
                f"npm can't fetch {PACKAGE} {VERSION}: {why[:300]}",
                f"Install npm and try again with a network, or give the path of {ARCHIVE} as `archive`.",
            ) from error
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != SHA256:
        raise HubError(f"{path.name} has the checksum {found[:12]}…, not {SHA256[:12]}….", "Delete it and try again.")
    return path


def catalogue(archive: Path) -> list[Emoji]:
    """What is taken of the archive, in its own order. A name belongs to the first that has it."""
    with tarfile.open(archive) as tar:
        entries = json.load(_member(tar, "package/emoji.json"))
    found: list[Emoji] = []
    taken: set[str] = set()
    for entry in sorted(entries, key=lambda entry: int(entry["sort_order"])):
        if entry["category"] in KINDS or entry["subcategory"] in PARTS:
            names = tuple(name for name in _names(entry) if name not in taken)
            if names:
                taken.update(names)
                found.append(Emoji(names, entry["subcategory"], f"package/img/google/64/{entry['image']}"))
    return found


def taught(emojis: list[Emoji]) -> list[int]:
    """Places of those that the starter learns: what one word names, and a few that take two. The rest is much alike."""
    few = {*ALSO, *MORE}
    return [place for place, one in enumerate(emojis) if any(name in few or " " not in name for name in one.names)]


def pictures(archive: Path, emojis: list[Emoji]) -> numpy.ndarray:
    """[n, 64, 64, 4] of bytes: red, green, blue and how opaque."""
    import numpy
    from PIL import Image

    held: dict[str, numpy.ndarray] = {}
    wanted = {one.file for one in emojis}
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.name in wanted:
                picture = Image.open(_member(tar, member.name)).convert("RGBA")
                held[member.name] = numpy.asarray(picture.resize((64, 64)) if picture.size != (64, 64) else picture)
    return numpy.stack([held[one.file] for one in emojis])


def _member(tar: tarfile.TarFile, name: str):  # type: ignore[no-untyped-def]
    found = tar.extractfile(name)
    assert found is not None, name
    return found


def _names(entry: dict) -> tuple[str, ...]:  # type: ignore[type-arg]
    """`smile cat`, `grinning cat face with smiling eyes`: the short name, and the official one in lower case.

    `dog2` is a second `dog`, so it has no short name.
    """
    short = str(entry["short_name"]).replace("_", " ").replace("-", " ").lower()
    official = str(entry["name"] or short).replace("-", " ").replace("’", "'").lower()
    plain = re.sub(r" (face|symbol|sign)$", "", official)
    names = (short, plain, official, ALSO.get(short, short))
    return tuple(name for name in dict.fromkeys(names) if not any(map(str.isdigit, name)))
