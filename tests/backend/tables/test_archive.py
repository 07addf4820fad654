from __future__ import annotations

import io
import wave
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from backend.errors import BadData, BadInput, NotFound
from backend.tables import archive
from backend.tables.pages import media, row, rows, thumbnail
from backend.tables.readers import ZIP_FILES, Given
from backend.tables.sources import Tables
from backend.tables.table import Table


def picture(colour: str, side: int = 300) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side // 2), colour).save(out, "PNG")
    return out.getvalue()


def sound() -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(b"\0\0" * 80)
    return out.getvalue()


def opened(tables: Tables, folder: Path, files: dict[str, bytes], as_folder: bool = False) -> Table:
    if as_folder:
        for name, data in files.items():
            (folder / "given" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "given" / name).write_bytes(data)
        return tables.open(str(folder / "given"))
    with zipfile.ZipFile(folder / "given.zip", "w") as packed:
        for name, data in files.items():
            packed.writestr(name, data)
    return tables.open(str(folder / "given.zip"))


@pytest.mark.parametrize("as_folder", [False, True])
def test_folders_become_labels(tables: Tables, tmp_path: Path, as_folder: bool) -> None:
    files = {"pets/dog/1.png": picture("red"), "pets/cat/2.png": picture("blue"), "pets/dog/3.jpg": b"no picture"}
    table = opened(tables, tmp_path, files, as_folder)
    page = rows(table)
    assert [(c["name"], c["kind"]) for c in page["columns"]] == [
        ("image", "image"),
        ("file_name", "text"),
        ("label", "label"),
    ]
    assert page["columns"][2]["names"] == ["cat", "dog"]
    assert [(cells[0]["path"], cells[2]) for cells in page["rows"]] == [("cat/2.png", 0), ("dog/1.png", 1)]
    assert page["rows"][0][0] == {"media": "image", "path": "cat/2.png", "bytes": len(files["pets/cat/2.png"])}
    assert any("3.jpg is left out" in note for note in table.notes)


def test_metadata_is_joined(tables: Tables, tmp_path: Path) -> None:
    lines = b"file_name,text,stars\n1.png,a red one,5\nb/2.png,a blue one,3\n"
    files = {"1.png": picture("red"), "b/2.png": picture("blue"), "b/3.png": picture("green"), "metadata.csv": lines}
    table = opened(tables, tmp_path, files)
    assert [row(table, i)["text"] for i in range(3)] == ["a red one", "a blue one", None]
    assert any("1 of 3 files have no line" in note for note in table.notes)


def test_metadata_lies_where_it_likes(tables: Tables, tmp_path: Path) -> None:
    """Above the pictures, or one beside each folder of them, it names files from its own folder on."""
    files = {f"pets/train/{i}.png": picture("red") for i in range(2)}
    above = {
        "pets/metadata.jsonl": b'{"file_name":"train/1.png","text":"one"}\n{"file_name":"train/0.png","text":"none"}\n'
    }
    table = opened(tables, tmp_path, files | above)
    assert [(row(table, i)["file_name"], row(table, i)["text"]) for i in range(2)] == [
        ("0.png", "none"),
        ("1.png", "one"),
    ]
    (tmp_path / "b").mkdir()
    beside = {f"{at}/metadata.csv": f"file_name,text\nx.wav,{at}\n".encode() for at in ("a", "b")}
    table = opened(tables, tmp_path / "b", {"a/x.wav": sound(), "b/x.wav": sound()} | beside)
    assert [row(table, i)["text"] for i in range(2)] == ["a", "b"]
    assert [row(table, i)["file_name"] for i in range(2)] == ["a/x.wav", "b/x.wav"]


def test_too_many_files(tables: Tables, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "given.zip", "w") as packed:
        for i in range(ZIP_FILES + 1):
            packed.writestr(f"{i}.txt", b"")
    with pytest.raises(BadData, match=r"holds 100,001 files; at most 100,000 are read. Split it."):
        tables.open(str(tmp_path / "given.zip"))


def test_a_folder_of_too_many_files(tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "ZIP_FILES", 3)
    (tmp_path / "given" / "deep").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "deep/c.txt"):
        (tmp_path / "given" / name).write_text("x")
    given = Given(tmp_path / "given", "given", tmp_path)
    assert len(archive.listed(given)) == 3
    (tmp_path / "given" / "deep" / "d.txt").write_text("x")
    with pytest.raises(BadData, match=r"holds 4 files; at most 3 are read. Split it."):
        archive.listed(given)


def test_datasets_reads_the_same_file(tables: Tables, tmp_path: Path) -> None:
    from datasets import load_dataset

    table = opened(tables, tmp_path, {"dog/1.png": picture("red"), "cat/2.png": picture("blue")})
    loaded = load_dataset("parquet", data_files=list(table.files), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.features["label"].names == ["cat", "dog"]
    assert loaded[0]["image"].size == (300, 150)


def test_thumbnails_and_sounds(tables: Tables, tmp_path: Path) -> None:
    table = opened(tables, tmp_path, {"1.png": picture("red"), "2.png": b"\x89PNG broken"})
    with Image.open(io.BytesIO(thumbnail(table, 0, "image", 64))) as small:
        assert (small.size, small.format) == ((64, 32), "WEBP")
    assert media(table, 0, "image") == picture("red")
    with pytest.raises(BadInput, match="row 1 can't be opened"):
        thumbnail(table, 1, "image")
    with pytest.raises(NotFound):
        media(table, 7, "image")
    with pytest.raises(BadInput, match="no pictures"):
        media(table, 0, "file_name")
    (tmp_path / "b").mkdir()
    heard = opened(tables, tmp_path / "b", {"1.wav": sound()})
    assert (heard.columns[0].kind, media(heard, 0, "audio")) == ("audio", sound())


def test_a_picture_of_too_many_pixels(tables: Tables, tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.new("1", (9000, 9000)).save(out, "PNG")
    table = opened(tables, tmp_path, {"1.png": out.getvalue()})
    with pytest.raises(BadInput, match="9000×9000 pixels"):
        thumbnail(table, 0, "image")
