"""Where a pipeline's parts go, and that what saves memory or time leaves the picture as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.engines.spread import Quick, compiled, compiled_on_a_gpu, spare, spread, tile, told
from tests import tiny_images

GB = 1_000_000_000


@pytest.mark.parametrize(
    ("need", "largest", "free", "how"),
    [
        (7 * GB, 5 * GB, 24 * GB, "whole"),  # SDXL on a card of 24 GB
        (24 * GB, 24 * GB, 80 * GB, "whole"),
        (7 * GB, 5 * GB, 8 * GB, "parts"),  # and on one of 8
        (33 * GB, 24 * GB, 40 * GB, "parts"),  # FLUX.1 on one of 40
        (33 * GB, 24 * GB, 24 * GB, "layers"),
        (7 * GB, 5 * GB, 6 * GB, "layers"),
    ],
)
def test_how_a_pipeline_fits_a_card(need: int, largest: int, free: int, how: Any) -> None:
    assert spread(need, largest, free) == how
    assert bool(told(how, "model")) == (how != "whole")


@pytest.fixture
def pipeline(tmp_path: Path) -> Any:
    from diffusers import StableDiffusionPipeline

    found = StableDiffusionPipeline.from_pretrained(tiny_images.tiny_pipeline(tmp_path / "tiny", tiny_vae=False))
    found.set_progress_bar_config(disable=True)
    return found


def draw(pipeline: Any, side: int = 32) -> Any:
    import torch

    with torch.inference_mode():
        return pipeline(
            "a red cat", num_inference_steps=2, width=side, height=side, output_type="pt",
            generator=torch.Generator().manual_seed(3),
        ).images  # fmt: skip


def test_slices_draw_the_same(pipeline: Any) -> None:
    before = draw(pipeline)
    spare(pipeline, "mps")
    assert pipeline.vae.use_slicing
    assert all("Sliced" in type(one).__name__ for one in pipeline.unet.attn_processors.values())
    assert float((draw(pipeline) - before).abs().max()) < 1e-4


def test_a_picture_is_decoded_in_tiles_where_memory_is_short_for_it(pipeline: Any) -> None:
    whole = draw(pipeline, 64)
    assert not tile(pipeline.vae, 64, 64, 4 * GB)
    assert tile(pipeline.vae, 4096, 4096, 4 * GB)
    tiled = draw(pipeline, 64)  # of 32, which blend into one another
    assert 0 < float((tiled - whole).abs().mean()) < 0.05
    assert not tile(pipeline.vae, 64, 64, 4 * GB)
    assert float((draw(pipeline, 64) - whole).abs().max()) == 0
    assert not tile(None, 4096, 4096, 0)


# -- compiled blocks ------------------------------------------------------------------------------------------------


@pytest.fixture
def compiler() -> Iterator[None]:
    import torch

    yield
    torch._dynamo.reset()


def test_blocks_that_do_not_compile_run_as_they_are_and_that_is_said_once(pipeline: Any, compiler: None) -> None:
    def broken(graph: Any, inputs: Any) -> Any:
        raise NotImplementedError("no compiler here")

    before = draw(pipeline)
    said: list[str] = []
    compiled(pipeline, said.append, backend=broken)
    assert float((draw(pipeline) - before).abs().max()) < 1e-6
    assert len(said) == 1
    assert "so it draws as it is" in said[0]
    assert not any(one._compiled_call_impl for one in pipeline.unet.modules())


def test_a_processor_compiles_nothing(pipeline: Any) -> None:
    compiled_on_a_gpu(pipeline, pytest.fail)
    assert not any(one._compiled_call_impl for one in pipeline.unet.modules())


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")
def test_compiled_blocks_draw_the_same(pipeline: Any, compiler: None) -> None:
    before = draw(pipeline)
    compiled(pipeline, pytest.fail)
    assert float((draw(pipeline) - before).abs().max()) < 1e-3
    assert any(one._compiled_call_impl for one in pipeline.unet.modules())


def test_a_form_compiled_ahead_that_fails_leaves_the_blocks_own(pipeline: Any) -> None:
    """As `spaces.aoti_blocks_load` puts it in place of `forward`; memory that runs out is no such failure."""
    before = draw(pipeline)
    blocks = [one for one in pipeline.unet.modules() if type(one).__name__ in pipeline.unet._repeated_blocks]
    said: list[str] = []

    def ahead(error: Exception) -> Any:
        def forward(*_: Any, **__: Any) -> Any:
            raise error

        for block in blocks:
            block.forward = forward
        return Quick(blocks, "forward", said.append)

    ahead(RuntimeError("another GPU"))
    assert float((draw(pipeline) - before).abs().max()) == 0
    assert said == ["Compiled blocks failed (another GPU), so it draws as it is, which is slower"]
    ahead(RuntimeError("CUDA out of memory"))
    with pytest.raises(RuntimeError, match="out of memory"):
        draw(pipeline)
