"""A pipeline of the Hub, fetched over real HTTP from a server of our own by a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from backend.engines.pipeline_files import variant_of, weights_of
from tests.backend.engines.hub import serving
from tests.conftest import ROOT

FETCH = """
import sys
from backend.engines.pipeline_files import folder_of
from backend.errors import LabError
try:
    print(folder_of(sys.argv[1], say=lambda text: print(text)))
except LabError as error:
    print(error.code, error.message)
"""


@pytest.fixture
def both(tiny_image: Path, tmp_path: Path) -> Path:
    """A pipeline as the Hub has many: its UNet twice, pickled once more, and a checkpoint beside all."""
    folder = tmp_path / "hub"
    shutil.copytree(tiny_image, folder)
    whole = folder / "unet" / "diffusion_pytorch_model.safetensors"
    shutil.copyfile(whole, whole.with_suffix(".fp16.safetensors"))
    whole.with_suffix(".bin").write_bytes(b"pickled")
    (folder / "v1-5.safetensors").write_bytes(b"everything once more")
    return folder


def fetched(address: str, name: str, cache: Path) -> str:
    env = os.environ | {"HF_ENDPOINT": address, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", FETCH, name], cwd=ROOT, env=env, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_only_what_is_needed_is_fetched_and_once(both: Path, tmp_path: Path) -> None:
    with serving(both) as (address, names):
        told = fetched(address, "org/tiny", tmp_path / "cache")
        assert "Fetching org/tiny" in told
        assert {name for name in names if not name.endswith((".json", ".txt"))} == {
            "unet/diffusion_pytorch_model.fp16.safetensors",
            "text_encoder/model.safetensors",
            "vae/diffusion_pytorch_model.safetensors",
        }
        place = Path(told.splitlines()[-1])
        assert (variant_of(place), variant_of(both)) == ("fp16", None)
        before = len(names)
        assert Path(fetched(address, "org/tiny", tmp_path / "cache").splitlines()[-1]) == place
        assert len(names) == before
    assert fetched("http://127.0.0.1:1", "org/tiny", tmp_path / "cache").strip() == str(place)  # with no Hub


@pytest.mark.long
def test_pickles_are_refused_before_they_are_fetched(both: Path, tmp_path: Path) -> None:
    for file in both.rglob("*.safetensors"):
        file.rename(file.with_suffix(".bin"))
    with serving(both) as (address, names):
        told = fetched(address, "org/tiny", tmp_path / "cache")
    assert told.startswith("model.pickle org/tiny has no .safetensors weights")
    assert not any(name.endswith(".bin") for name in names)


def test_weights_are_told_from_their_heads(both: Path, tiny_image: Path) -> None:
    stored = sum(file.stat().st_size for file in tiny_image.rglob("*.safetensors"))
    assert 0.5 * stored < sum(weights_of(tiny_image, 4)) < stored  # fp32, and names take their share
    assert [2 * one for one in weights_of(tiny_image, 2)] == weights_of(tiny_image, 4)
    assert weights_of(both, 4) == weights_of(tiny_image, 4)  # nothing counts twice
