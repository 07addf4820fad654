"""What training sees of data; how files are read and checked is tested with the recipes."""

from pathlib import Path

import pytest
from PIL import Image

from backend.errors import BadInput


def picture(path: Path) -> Path:
    Image.new("RGB", (8, 8), "red").save(path)
    return path


def test_pictures_become_one_dataset_and_a_table_stays_itself(lab, tmp_path):
    name, pictures = lab.upload_files("ann", [picture(tmp_path / "a.png"), picture(tmp_path / "b.png")])
    assert (Path(name).name, pictures) == ("pictures.zip", True)
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 4)
    table, pictures = lab.upload_files("ann", [tmp_path / "rows.jsonl"])
    assert (Path(table).name, pictures) == ("rows.jsonl", False)
    with pytest.raises(BadInput, match="2 files were given"):
        lab.upload_files("ann", [tmp_path / "rows.jsonl", tmp_path / "a.png"])
    fits = {one.name: one.fits for one in lab.datasets("ann", "sft")}
    assert (fits[table], fits[name]) == (True, False)
    assert {one.name: one.fits for one in lab.datasets("ann", "image_lora")}[name]
    assert lab.look(table, "ann")["total"] == 4
