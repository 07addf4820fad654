from __future__ import annotations

import json
from pathlib import Path

import pytest

from backend.recipes.checkpoints import SEAL, newest, replace, restore, seal, step, whole


def made(folder: Path, number: int) -> Path:
    checkpoint = folder / f"checkpoint-{number}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "weights").write_bytes(b"12345")
    (checkpoint / "state.json").write_text("{}")
    return checkpoint


def test_only_a_sealed_one_is_whole(tmp_path: Path) -> None:
    checkpoint = made(tmp_path, 4)
    assert not whole(checkpoint)
    seal(checkpoint)
    assert whole(checkpoint)
    assert json.loads((checkpoint / SEAL).read_text()) == {"weights": 5, "state.json": 2}


@pytest.mark.parametrize("damage", ["cut", "gone", "seal"])
def test_a_damaged_one_is_not_whole(tmp_path: Path, damage: str) -> None:
    checkpoint = made(tmp_path, 4)
    seal(checkpoint)
    if damage == "cut":
        (checkpoint / "weights").write_bytes(b"123")
    elif damage == "gone":
        (checkpoint / "weights").unlink()
    else:
        (checkpoint / SEAL).write_text('{"weig')
    assert not whole(checkpoint)


def test_the_newest_whole_one_is_taken_and_halves_are_removed(tmp_path: Path) -> None:
    for number in (4, 8, 20):
        seal(made(tmp_path, number))
    half = made(tmp_path, 100)
    assert newest(tmp_path) == tmp_path / "checkpoint-20"
    assert not half.exists()
    assert step(newest(tmp_path)) == 20


def test_none_is_step_0(tmp_path: Path) -> None:
    assert newest(tmp_path / "nowhere") is None
    assert step(None) == 0


def test_a_folder_is_replaced(tmp_path: Path) -> None:
    place, new = tmp_path / "adapter", tmp_path / "adapter.new"
    for text in ("first", "second"):
        new.mkdir()
        (new / "weights").write_text(text)
        replace(new, place)
    assert (place / "weights").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


def test_a_kill_in_the_middle_is_put_right(tmp_path: Path) -> None:
    (tmp_path / "adapter.old").mkdir()
    (tmp_path / "adapter.old" / "weights").write_text("first")
    (tmp_path / "adapter.new").mkdir()
    restore(tmp_path / "adapter")
    assert (tmp_path / "adapter" / "weights").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]
