"""The sample pictures are what their script draws."""

from __future__ import annotations

import csv
import io
import zipfile

from PIL import Image, ImageChops

from backend.starter import mascot


def test_the_file_is_what_the_script_draws() -> None:
    with zipfile.ZipFile(mascot.FILE) as held:
        told = list(csv.DictReader(io.StringIO(held.read("metadata.csv").decode())))
        assert [row["text"] for row in told] == [mascot.caption(scene) for scene in mascot.SCENES]
        for row, scene in zip(told, mascot.SCENES, strict=True):
            with Image.open(io.BytesIO(held.read(row["file_name"]))) as image:
                apart = ImageChops.difference(image, mascot.draw(scene))
            assert max(high for _, high in apart.getextrema()) <= 8  # Pillow's filters differ by a little


def test_no_two_are_alike() -> None:
    assert len({mascot.draw(scene).tobytes() for scene in mascot.SCENES}) == len(mascot.SCENES) >= 8
