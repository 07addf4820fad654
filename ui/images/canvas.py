"""Pictures before and after drawing: a larger canvas, a mask of what was painted, a sheet of many. Pure, PIL alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from backend.errors import BadInput

MOST = 4096  # pixels a side
OVERLAP = 16  # the n-th part of the old side that is drawn anew beside a new one, so that no seam is seen
_LETTERS, _GAP, _SMALLEST, _HEAD = 16, 8, 96, 240  # pixels, of a sheet
Sides = tuple[int, int, int, int]  # pixels added at the left, top, right, bottom


def extended(picture: Image.Image, sides: Sides) -> tuple[Image.Image, Image.Image]:
    """A canvas larger by `sides` with the picture in its place, and the mask: white where it is to be drawn.

    New ground begins as the nearest edge goes on, which is a better start than black. Raises BadInput.
    """
    for name, value in zip(("left", "top", "right", "bottom"), sides, strict=True):
        if value < 0:
            raise BadInput(f"{name} is {value}; it must be 0 or more pixels.", "To cut a picture, crop it first.")
    left, top, right, bottom = sides
    width, height = picture.width + left + right, picture.height + top + bottom
    if max(width, height) > MOST:
        raise BadInput(f"The canvas would be {width} × {height}; at most {MOST:,} pixels a side.", "Add less.")
    old = picture.convert("RGB")
    image = Image.fromarray(np.pad(np.asarray(old), ((top, bottom), (left, right), (0, 0)), mode="edge"))
    mask = Image.new("L", (width, height), 255)
    keep = [
        left + (old.width // OVERLAP if left else 0),
        top + (old.height // OVERLAP if top else 0),
        left + old.width - (old.width // OVERLAP if right else 0),
        top + old.height - (old.height // OVERLAP if bottom else 0),
    ]
    mask.paste(0, (keep[0], keep[1], keep[2], keep[3]))
    return image, mask


def painted(layers: Sequence[Image.Image], size: tuple[int, int]) -> Image.Image | None:
    """The mask of what was painted on any layer, at `size`; None when nothing was."""
    mask = Image.new("L", size)
    for layer in layers:
        alpha = layer.convert("RGBA").getchannel("A").resize(size)
        mask.paste(255, mask=alpha.point(lambda value: 255 if value > 64 else 0))
    return mask if mask.getbbox() else None


def roomy(picture: Image.Image, least: int = 512) -> Image.Image:
    """The picture, large enough to paint on with a finger."""
    scale = max(1, -(-least // max(picture.size)))
    return picture.convert("RGB").resize((picture.width * scale, picture.height * scale), Image.Resampling.BICUBIC)


def alike(one: Image.Image, other: Image.Image) -> tuple[Image.Image, Image.Image]:
    """Two pictures at the size of the larger, for a slider."""
    width, height = max((roomy(each).size for each in (one, other)), key=lambda size: size[0] * size[1])
    first, second = (each.convert("RGB").resize((width, height), Image.Resampling.BICUBIC) for each in (one, other))
    return first, second


def sheet(rows: Sequence[Sequence[Image.Image | None]], across: Sequence[str], down: Sequence[str]) -> Image.Image:
    """Pictures as a table with heads, for one file: `across` above its columns, `down` beside its rows."""
    drawn = [one for row in rows for one in row if one is not None]
    font = ImageFont.load_default(_LETTERS)
    ruler = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    longest = [min(_HEAD, max(math.ceil(ruler.textlength(one, font)) for one in heads)) for heads in (across, down)]
    wide = max([_SMALLEST, longest[0], *(one.width for one in drawn)])
    high = max([_SMALLEST, *(one.height for one in drawn)])
    side = 0 if not any(down) else longest[1] + 2 * _GAP
    head = 0 if not any(across) else _LETTERS + 2 * _GAP
    whole = Image.new("RGB", (side + len(across) * (wide + _GAP), head + len(down) * (high + _GAP)), "white")
    pen = ImageDraw.Draw(whole)
    for column, text in enumerate(across):
        pen.text((side + column * (wide + _GAP), _GAP), _short(text, wide, ruler, font), "black", font)
    for row, text in enumerate(down):
        pen.text((_GAP, head + row * (high + _GAP) + high // 2), _short(text, side - _GAP, ruler, font), "black", font)
    for row, pictures in enumerate(rows):
        for column, one in enumerate(pictures):
            if one is not None:
                shown = one if (one.width, one.height) == (wide, high) else _within(one, wide, high)
                whole.paste(shown.convert("RGB"), (side + column * (wide + _GAP), head + row * (high + _GAP)))
    return whole


def _within(picture: Image.Image, wide: int, high: int) -> Image.Image:
    scale = min(wide / picture.width, high / picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    return picture.resize(size, Image.Resampling.BICUBIC)


def _short(text: str, wide: int, ruler: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """As much of the text as fits."""
    if ruler.textlength(text, font) <= wide:
        return text
    while text and ruler.textlength(f"{text}…", font) > wide:
        text = text[:-1]
    return f"{text}…"
