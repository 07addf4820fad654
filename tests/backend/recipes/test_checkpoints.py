from __future__ import annotations

import json
import multiprocessing
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from backend import events as ev
from backend.recipes.callbacks import FOLDER
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


# -- a trainer that is killed fifty times, at any moment ---------------------------------------------------------

KILLS, STEPS = 50, 400
HEAVY = ["torch", "datasets", "peft", "trl.trainer.sft_trainer", "transformers.trainer"]  # imported once, for all


def train(folder: Path) -> None:
    """What `python -m backend.recipes.sft` does, its lines at the end of `log`."""
    from backend.recipes import process, sft

    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    process.leave(process.main(sft.Params, sft.run, [str(folder / "params.json")]))


def begun(folder: Path, params: dict[str, Any]) -> Path:
    folder.mkdir()
    (folder / "params.json").write_text(json.dumps(params))
    return folder


def weights(folder: Path) -> Any:
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


def told(folder: Path) -> list[ev.Event]:
    """What a trainer has said so far."""
    log = folder / "log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [ev.parse(line) for line in lines if line.startswith("@event")]


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_fifty_kills_change_nothing(tiny: Path, tmp_path: Path) -> None:
    ready = multiprocessing.get_context("forkserver")
    ready.set_forkserver_preload(HEAVY)
    params = {
        "model": str(tiny), "max_steps": STEPS, "save_steps": 3, "logging_steps": 1, "eval_rows": 0,
        "per_device_train_batch_size": 2, "max_length": 64, "sample_prompts": 0, "lora_dropout": 0.1,
    }  # fmt: skip
    whole, killed = begun(tmp_path / "whole", params), begun(tmp_path / "killed", params)
    child = ready.Process(target=train, args=(whole,))
    child.start()
    child.join(300)
    assert child.exitcode == 0

    chance, kills, reached = random.Random(0), 0, []
    while kills < KILLS:
        before = len(told(killed))
        child = ready.Process(target=train, args=(killed,))
        child.start()
        if kills % 5:  # every fifth while it still loads
            while child.is_alive() and not any(isinstance(one, ev.Measured) for one in told(killed)[before:]):
                time.sleep(0.02)
        time.sleep(chance.uniform(0.0, 0.8))
        child.kill()
        child.join(30)
        kills += 1
        found = newest(killed / FOLDER)
        reached.append(step(found))
        if found is not None:
            assert weights(found)
            assert json.loads((found / "trainer_state.json").read_text())["global_step"] == reached[-1]
    assert reached == sorted(reached), "no checkpoint is ever lost"
    assert reached[-1] < STEPS, "it was killed before its end each time"

    child = ready.Process(target=train, args=(killed,))
    child.start()
    child.join(300)
    assert isinstance(told(killed)[-1], ev.Finished)
    curves = [
        {one.step: one.values["loss"] for one in told(folder) if isinstance(one, ev.Measured) and "loss" in one.values}
        for folder in (whole, killed)
    ]
    assert curves[1] == pytest.approx(curves[0], rel=1e-3, abs=1e-5)
    first, second = weights(whole / "adapter"), weights(killed / "adapter")
    for name in first:
        assert (first[name] - second[name]).abs().max() < 1e-4, name
