"""A few pictures in the form of the emoji archive."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from PIL import Image, ImageDraw

ENTRIES = (  # short name, official name, category, subcategory
    ("smile_cat", "GRINNING CAT FACE WITH SMILING EYES", "Smileys & Emotion", "cat-face"),
    ("cat", "CAT FACE", "Animals & Nature", "animal-mammal"),
    ("cat2", "CAT", "Animals & Nature", "animal-mammal"),
    ("blue_heart", "BLUE HEART", "Smileys & Emotion", "heart"),
    ("rocket", "ROCKET", "Travel & Places", "transport-air"),
    ("flag-ch", "Switzerland Flag", "Flags", "country-flag"),
)


def archive(folder: Path) -> Path:
    """Six pictures, each a disc of its own grey; the flag is not among what is used."""
    path = folder / "emoji.tgz"
    with tarfile.open(path, "w:gz") as tar:
        entries = []
        for number, (short, name, category, group) in enumerate(ENTRIES):
            image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
            ImageDraw.Draw(image).ellipse((8, 8, 56, 56), fill=(40 * number, 40 * number, 40 * number, 255))
            _add(tar, f"package/img/google/64/{number}.png", image)
            entries.append(
                {"name": name, "short_name": short, "category": category, "subcategory": group}
                | {"image": f"{number}.png", "sort_order": number}
            )
        text = json.dumps(entries).encode()
        info = tarfile.TarInfo("package/emoji.json")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text))
    return path


def _add(tar: tarfile.TarFile, name: str, image: Image.Image) -> None:
    out = io.BytesIO()
    image.save(out, "PNG")
    info = tarfile.TarInfo(name)
    info.size = out.tell()
    out.seek(0)
    tar.addfile(info, out)
