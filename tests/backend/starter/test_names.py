from __future__ import annotations

from pathlib import Path

import pytest

from backend.starter import MODEL_ID, SAMPLES, locate


def test_the_model_is_a_folder(starter: Path) -> None:
    assert locate(MODEL_ID, starter.parent) == str(starter)
    assert (starter / "model.safetensors").is_file()


def test_the_model_is_looked_for_where_the_settings_say(starter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATELIER_STARTER", str(starter.parent))
    assert locate(MODEL_ID) == str(starter)


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_a_file(name: str) -> None:
    assert Path(locate(name)).is_file()
    assert Path(locate(name)).suffix == (".zip" if name == "sample/mascot" else ".jsonl")


@pytest.mark.parametrize("name", ["", "sample/unknown", "someone/model", "/a/folder", "HuggingFaceTB/SmolLM2-135M"])
def test_any_other_name_stays(name: str) -> None:
    assert locate(name) == name
