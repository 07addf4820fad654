"""A pipeline taken apart: what is asked of the denoiser is what its scheduler says, and drawing leaves no trace."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy
import pytest
import torch
from PIL import Image

from backend.errors import BadInput
from backend.recipes import device, image_model
from tests.tiny_images import tiny_pipeline

CPU = device.choose(device.Machine(), "fp32")


@pytest.fixture(scope="module")
def painter(tiny_image: Path) -> image_model.Painter:
    return image_model.Painter.load(str(tiny_image), CPU)


def with_scheduler(scheduler: Any) -> image_model.Painter:
    made = image_model.Painter.__new__(image_model.Painter)
    made.scheduler, made.pipeline = scheduler, SimpleNamespace()
    made.flows = "FlowMatch" in type(scheduler).__name__
    return made


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("zero", [False, True])
def test_noise_and_answer_are_diffusers_own(kind: str, zero: bool) -> None:
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler(prediction_type=kind, rescale_betas_zero_snr=zero)
    clean, noise = torch.randn(5, 4, 8, 8), torch.randn(5, 4, 8, 8)
    noisy, times, wanted = with_scheduler(scheduler).noised(clean, noise, torch.Generator().manual_seed(3))
    torch.testing.assert_close(noisy, scheduler.add_noise(clean, noise, times))
    velocity = scheduler.get_velocity(clean, noise, times)
    torch.testing.assert_close(wanted, {"epsilon": noise, "v_prediction": velocity, "sample": clean}[kind])


def test_flow_matching_goes_straight_from_noise_to_picture() -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    clean, noise = torch.randn(6, 4, 8, 8), torch.randn(6, 4, 8, 8)
    noisy, times, wanted = with_scheduler(scheduler).noised(clean, noise, torch.Generator().manual_seed(3))
    torch.testing.assert_close(noisy, scheduler.scale_noise(clean, times, noise))
    level = times.view(-1, 1, 1, 1) / 1000
    torch.testing.assert_close(noisy - level * wanted, clean, atol=1e-5, rtol=1e-5)


def test_latents_are_what_the_pipeline_decodes(painter: image_model.Painter, tmp_path: Path) -> None:
    image = Image.fromarray(numpy.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=numpy.uint8))
    kl = image_model.Painter.load(str(tiny_pipeline(tmp_path / "kl", tiny_vae=False)), CPU)
    for one in (painter, kl):
        assert one.latents([image, image]).shape == (2, 4, 8, 8)
    pixels = torch.from_numpy(numpy.array(image)).permute(2, 0, 1)[None].float() / 127.5 - 1
    expected = kl.pipeline.vae.encode(pixels).latent_dist.mode() * kl.pipeline.vae.config.scaling_factor
    torch.testing.assert_close(kl.latents([image]), expected)


def test_drawing_is_repeatable_and_leaves_no_trace(painter: image_model.Painter) -> None:
    before, scheduler = torch.get_rng_state(), painter.pipeline.scheduler
    one, other = (painter.draw("a red cat", 7, 2, 4.0, 32) for _ in range(2))
    assert (one.tobytes(), one.size) == (other.tobytes(), (32, 32))
    assert torch.equal(before, torch.get_rng_state())
    assert painter.pipeline.scheduler is scheduler


def test_how_large_it_draws(tiny_image: Path) -> None:
    assert image_model.side_of(str(tiny_image)) == 32
    assert image_model.side_of("someone/unknown") == image_model.SIDE


def test_what_can_not_be_taught(tmp_path: Path, tiny_image: Path, tiny: Path) -> None:
    image_model.check(str(tiny_image))
    with pytest.raises(BadInput, match="is no diffusers pipeline: it has no model_index"):
        image_model.check(str(tiny))
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))
    with pytest.raises(BadInput, match="is a FluxPipeline, which can't be taught here"):
        image_model.check(str(tmp_path))
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    with pytest.raises(BadInput, match="has no safetensors weights"):
        image_model.check(str(tmp_path))
    (tmp_path / "one.safetensors").touch()
    with pytest.raises(BadInput, match="is a checkpoint in one file"):
        image_model.check(str(tmp_path / "one.safetensors"))
