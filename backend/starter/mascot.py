"""Draws the sample pictures: one little figure, `Pip`, in several sizes, places and colours of the ground.

    python -m backend.starter.mascot        writes data/mascot.zip, always the same

Drawn by this script for Atelier and dedicated to the public domain (CC0-1.0). Pip is a teal drop with one eye, two
striped legs and an orange ball on a stalk.
"""

from __future__ import annotations

import csv
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

FILE = Path(__file__).parent / "data" / "mascot.zip"
SIDE = 192  # pixels
_FINE = 4  # drawn so many times larger, then made smaller
TEAL, DARK, LIGHT, ORANGE, WHITE, INK = "#1fa39a", "#12655f", "#8fe0d6", "#f58a1f", "#ffffff", "#1c2430"
GROUNDS = {
    "white": "#ffffff", "yellow": "#fad74b", "blue": "#3f74e0", "pink": "#f79ac0", "green": "#58b368",
    "grey": "#c9ced6", "black": "#22262d", "purple": "#8b52c4", "orange": "#ffb46b", "brown": "#8a5a3c",
}  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """Where Pip stands: `size` and (x, y) of the middle as shares of the side; the eye looks by (-1 to 1)."""

    ground: str
    size: float
    x: float = 0.5
    y: float = 0.5
    looks: float = 0.0
    where: str = ""


SCENES = (
    Scene("white", 0.92),
    Scene("yellow", 0.8, looks=0.6),
    Scene("blue", 0.9, looks=-0.5),
    Scene("pink", 0.6, 0.36, 0.58, 0.8, "on the left"),
    Scene("green", 0.6, 0.64, 0.56, -0.8, "on the right"),
    Scene("grey", 1.15, 0.5, 0.56, where="close up"),
    Scene("black", 0.85, looks=0.3),
    Scene("purple", 0.7, 0.5, 0.6, -0.3),
    Scene("orange", 0.45, 0.5, 0.62, where="small"),
    Scene("brown", 0.9, looks=-0.6),
)


def draw(scene: Scene) -> Image:
    """The scene, SIDE pixels wide and high."""
    from PIL import Image, ImageDraw

    side = SIDE * _FINE
    image = Image.new("RGB", (side, side), GROUNDS[scene.ground])
    pen = ImageDraw.Draw(image)
    unit = scene.size * side / 2  # half of Pip's height

    def at(x: float, y: float) -> tuple[float, float]:
        """A place on Pip, whose height goes from -1 to 1."""
        return scene.x * side + x * unit, scene.y * side + y * unit

    def oval(x: float, y: float, wide: float, high: float, colour: str) -> None:
        pen.ellipse([*at(x - wide, y - high), *at(x + wide, y + high)], fill=colour)

    pen.line([at(0.04, -0.6), at(0.2, -0.84)], fill=DARK, width=round(unit * 0.07))
    oval(0.22, -0.86, 0.12, 0.12, ORANGE)
    for x in (-0.2, 0.2):
        for stripe in range(4):
            top = 0.58 + stripe * 0.09
            pen.rectangle([*at(x - 0.08, top), *at(x + 0.08, top + 0.09)], fill=ORANGE if stripe % 2 else WHITE)
        oval(x + 0.05, 0.96, 0.17, 0.07, DARK)
    pen.polygon([at(0, -0.78), at(-0.45, -0.1), at(0.45, -0.1)], fill=TEAL)
    oval(0, 0.1, 0.56, 0.56, TEAL)
    oval(0, 0.3, 0.34, 0.28, LIGHT)
    oval(0, -0.08, 0.26, 0.26, WHITE)
    oval(scene.looks * 0.1, -0.06, 0.13, 0.15, INK)
    oval(scene.looks * 0.1 + 0.05, -0.12, 0.045, 0.045, WHITE)
    pen.arc([*at(-0.14, 0.16), *at(0.14, 0.36)], 20, 160, fill=INK, width=round(unit * 0.045))
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def caption(scene: Scene) -> str:
    """Its words."""
    return " ".join(["a sks figure", *([scene.where] if scene.where else []), f"on {scene.ground}"])


def write(file: Path = FILE) -> Path:
    """The pictures with their captions as a zip, the same to the last byte each time."""
    told = io.StringIO()
    rows = csv.writer(told, lineterminator="\n")
    rows.writerow(["file_name", "text"])
    files: dict[str, bytes] = {}
    for number, scene in enumerate(SCENES, 1):
        out = io.BytesIO()
        draw(scene).save(out, "PNG")
        files[f"pip-{number:02}.png"] = out.getvalue()
        rows.writerow([f"pip-{number:02}.png", caption(scene)])
    files["metadata.csv"] = told.getvalue().encode()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as packed:
        for name, data in files.items():
            packed.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data)
    return file


if __name__ == "__main__":
    print(write())
