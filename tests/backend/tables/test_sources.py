"""What was worked out about files is let go of when they are gone, or when there is too much of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.errors import BadData
from backend.tables import sources
from backend.tables.pages import rows
from backend.tables.sources import Tables


def given(folder: Path, name: str) -> Path:
    (folder / name).write_text("a\n1\n")
    return folder / name


def test_a_deleted_file_takes_its_table_along(tables: Tables, tmp_path: Path) -> None:
    gone, stays = given(tmp_path, "gone.csv"), given(tmp_path, "stays.csv")
    folders = [tables.open(str(path)).folder for path in (gone, stays)]
    gone.unlink()
    tables.sweep()
    assert [folder.exists() for folder in folders] == [False, True]
    assert rows(tables.open(str(stays)))["rows"] == [[1]]


def test_above_the_bound_the_longest_unused_goes(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    old, new = (tables.open(str(given(tmp_path, name))).folder for name in ("old.csv", "new.csv"))
    os.utime(old, (1, 1))
    monkeypatch.setattr(sources, "KEPT", sum(file.stat().st_size for file in new.iterdir()))
    tables.sweep()
    assert (old.exists(), new.exists()) == (False, True)


def test_a_file_that_is_too_large_is_refused(tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "UPLOAD", 3)
    with pytest.raises(BadData, match="are taken in"):
        tables.open(str(given(tmp_path, "large.csv")))
