from __future__ import annotations

from pathlib import Path

from backend.recipes.weights import read


def test_the_headers_tell_all(tiny: Path) -> None:
    found = read(tiny)
    assert 4 * found.count == found.bytes
    assert found.linear() == ["down_proj", "gate_proj", "up_proj", "k_proj", "o_proj", "q_proj", "v_proj"]
    assert found.has("q_proj")
    assert found.has("self_attn.q_proj")
    assert not found.has("proj")


def test_nothing_and_broken_files(tmp_path: Path) -> None:
    assert read(tmp_path).count == 0
    (tmp_path / "a.safetensors").write_bytes(b"\x05\0\0\0\0\0\0\0{nope")
    (tmp_path / "b.safetensors").write_bytes(b"\x05")
    assert read(tmp_path).tensors == {}
