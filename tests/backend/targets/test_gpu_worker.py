"""What a worker of ZeroGPU does where nothing was compiled for it."""

import pytest

from backend.targets import gpu_worker


@pytest.mark.long
def test_blocks_compiled_ahead_that_can_not_be_had_leave_the_model_as_it_is(tmp_path, monkeypatch):
    from diffusers import FluxPipeline

    from tests.tiny_images import tiny_flux

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    pipeline, said = FluxPipeline.from_pretrained(tiny_flux(tmp_path / "flux")), []
    gpu_worker._with_blocks(pipeline, said.append)
    assert len(said) == 1
    assert said[0].startswith("The blocks compiled ahead of time can't be used (")
    assert not any("forward" in vars(one) for one in pipeline.transformer.modules())
