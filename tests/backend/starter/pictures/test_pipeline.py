"""The image starter as it is committed: small files, plain diffusers, and it draws what it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest

from backend.starter import IMAGE_ID, locate
from backend.starter.pictures import judge
from backend.starter.pictures.captions import Scene

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' own


@pytest.fixture(scope="module")
def pipeline() -> Any:
    import torch
    from diffusers import DiffusionPipeline

    found = DiffusionPipeline.from_pretrained(locate(IMAGE_ID), dtype=torch.float32)
    found.set_progress_bar_config(disable=True)
    return found


def test_its_files_are_small() -> None:
    sizes = [path.stat().st_size for path in Path(locate(IMAGE_ID)).rglob("*") if path.is_file()]
    assert max(sizes) < 10_000_000
    assert sum(sizes) <= 40_000_000


def test_it_names_no_place_of_the_machine_that_made_it() -> None:
    assert [path for path in Path(locate(IMAGE_ID)).rglob("*.json") if '"_name_or_path": "/' in path.read_text()] == []


def test_it_draws_in_the_colours_asked_for(pipeline: Any) -> None:
    asked = {
        "a red car on blue": Scene(0, "red", "blue"),
        "a green cat on pink": Scene(0, "green", "pink"),
        "panda on yellow": Scene(0, "", "yellow"),
        "purple ghost": Scene(0, "purple", "white"),
        "a blue house on black": Scene(0, "blue", "black"),
        "star on green": Scene(0, "", "green"),
    }
    images = judge.drawn(pipeline, list(asked))
    assert images.shape == (6, 64, 64, 3)
    right = [judge.colour_right(image, scene) for image, scene in zip(images, asked.values(), strict=True)]
    assert sum(one["ground"] for one in right) >= 5
    assert sum(one.get("ink", True) for one in right) >= 5


def test_the_same_seed_draws_the_same_and_another_another(pipeline: Any) -> None:
    one, again, other = (judge.drawn(pipeline, [text]) for text in ("a cat", "a cat", "a dog"))
    assert numpy.array_equal(one, again)
    assert numpy.abs(one.astype(int) - other.astype(int)).mean() > 5
