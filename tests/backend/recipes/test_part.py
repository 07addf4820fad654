"""A part of a Hub dataset as one name: read, written, and loaded by `datasets` from a Hub on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.catalog import Catalog
from backend.errors import BadInput, LabError
from backend.recipes import evaluate_script
from backend.recipes.evaluate import EvaluateParams
from backend.recipes.params import TrainParams
from backend.recipes.part import Part
from backend.recipes.reading import rows_of
from backend.recipes.script import code
from backend.settings import Settings
from backend.store import Store
from tests.datahub import serving
from tests.localhub import here

NAMES = {
    "ann/rows": Part("ann/rows"),
    "rows:test": Part("rows", split="test"),
    "ann/rows@v1": Part("ann/rows", revision="v1"),
    "ann/rows@refs/pr/1:test": Part("ann/rows", split="test", revision="refs/pr/1"),
    "ann/rows:en-US/test": Part("ann/rows", "en-US", "test"),
    "ann/r.o-w_s@abc:20220301.en/validation": Part("ann/r.o-w_s", "20220301.en", "validation", "abc"),
}
FIRST = {"ann/configs:en/test": 2, "ann/configs:en/train": 3, "ann/configs@v1:de/train": 11, "ann/public:train": 0}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    import datasets
    from huggingface_hub import constants

    with serving() as found:
        here(monkeypatch, found.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "datasets"))
        yield


@pytest.mark.parametrize(("name", "part"), NAMES.items())
def test_what_is_read_is_written_again(name: str, part: Part) -> None:
    assert (Part.read(name), str(part)) == (part, name)


@pytest.mark.parametrize(
    "name", ["upload/ab/x@y:z.csv", "/home/a:b/c.jsonl", "run/ab12cd34", "a b", "a/b/c:test", "a:b:c"]
)
def test_of_other_names_all_is_the_name(name: str) -> None:
    assert Part.read(name) == Part(name)


def test_a_run_and_a_script_load_that_part(hub: None) -> None:
    import datasets

    for name, first in FIRST.items():
        row: Any = next(rows_of(name, streaming=True))
        assert row["id"] == first
        assert eval(Part.read(name).loading(), {"load_dataset": datasets.load_dataset})[0]["id"] == first
        asked = TrainParams(dataset=name, dataset_split="other")  # what the name tells counts
        assert f"dataset = {Part.read(name).loading()}\n" in code("sft", asked)
        told = EvaluateParams(dataset=name, models=["a"], max_rows=0)
        assert f"{Part.read(name).loading()}\n" in evaluate_script.code(told, [("a", "a", "")], name)
    with pytest.raises(BadInput, match="Bad split"):
        next(rows_of("ann/configs:en/dev", streaming=True))


def test_the_catalog_asks_for_the_repository(hub: None, home: Path) -> None:
    catalog = Catalog(Settings.read({"ATELIER_HOME": str(home)}), Store(home))
    assert catalog.dataset("ann/configs@v1:de/train", "visitor-a") == "ann/configs@v1:de/train"
    for name in ("ann/absent:test", "ann/a b:test", "ann/public:x/y/z"):
        with pytest.raises(LabError):
            catalog.dataset(name, "visitor-a")
