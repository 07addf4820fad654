"""The image starter's training: each stage once, stopped and taken up again, to the same weights."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from backend import events as ev
from backend.errors import NotFound
from backend.recipes import pretrain_image
from backend.recipes.params import check
from tests.backend.starter.pictures.archive import archive

pytestmark = pytest.mark.filterwarnings("ignore")  # diffusers' own


def told(text: str) -> list[ev.Event]:
    return [event for event in map(ev.parse, text.splitlines()) if not isinstance(event, ev.Wrote)]


def params(folder: Path, **more: object) -> pretrain_image.Params:
    few: dict[str, object] = {
        "views": 3,
        "autoencoder_steps": 2,
        "max_steps": 4,
        "per_device_train_batch_size": 2,
        "logging_steps": 1,
        "precision": "fp32",
    }
    return check(pretrain_image.Params, {"archive": str(archive(folder)), "save_steps": 2, **few, **more})


def test_an_archive_that_is_not_there_is_told_at_once() -> None:
    with pytest.raises(NotFound, match="nowhere"):
        pretrain_image.preflight(pretrain_image.Params(archive="/nowhere.tgz"))


def test_the_rate_is_steady_until_the_last_fifth() -> None:
    assert pretrain_image.steady(0, 1000) == pytest.approx(1 / 200)
    assert pretrain_image.steady(300, 1000) == pretrain_image.steady(800, 1000) == 1
    assert pretrain_image.steady(900, 1000) == pytest.approx(0.5)
    assert pretrain_image.steady(999, 1000) == pytest.approx(0.02)


def losses(events: list[ev.Event]) -> list[float]:
    """Of the denoiser, step by step; the same training gives them to about 1e-5."""
    found = [event.values for event in events if isinstance(event, ev.Measured)]
    return [values["denoiser_loss"] for values in found if "denoiser_loss" in values]


def test_it_leaves_a_pipeline_that_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch
    from diffusers import DiffusionPipeline

    pretrain_image.run(params(tmp_path, autoencoder_steps=1, max_steps=1, views=1), tmp_path)
    events = told(capsys.readouterr().out)
    assert isinstance(events[-1], ev.Finished)
    assert len(losses(events)) == 1
    pipeline = DiffusionPipeline.from_pretrained(tmp_path / "pipeline", dtype=torch.float32)
    assert pipeline("a cat", num_inference_steps=1, height=64, width=64).images[0].size == (64, 64)


@pytest.mark.long
def test_stopped_and_resumed_it_learns_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    pretrain_image.run(params(tmp_path), whole)
    unbroken = losses(told(capsys.readouterr().out))
    assert len(unbroken) == 4
    for stage in ("tokenizer", "vae"):  # words of equal number may change places in a tokenizer trained anew
        shutil.copytree(whole / stage, parts / stage)
    (parts / "stop").write_text("save")
    pieces: list[float] = []
    for _ in range(7):  # one step, and a stop
        pretrain_image.run(params(tmp_path), parts)
        events = told(capsys.readouterr().out)
        pieces += losses(events)
        if isinstance(events[-1], ev.Finished):
            break
        assert isinstance(events[-1], ev.Paused)
    assert pieces == pytest.approx(unbroken, rel=1e-4)
