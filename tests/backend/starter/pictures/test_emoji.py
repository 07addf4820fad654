"""From the archive to names and pictures."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.errors import HubError
from backend.starter.pictures.emoji import ARCHIVE, catalogue, fetch, pictures, taught
from tests.backend.starter.pictures.archive import archive


def test_a_name_belongs_to_the_first_that_has_it(tmp_path: Path) -> None:
    names = [one.names for one in catalogue(archive(tmp_path))]
    assert names[0] == ("smile cat", "grinning cat face with smiling eyes", "smiling cat")
    assert names[1] == ("cat", "cat face")
    assert all("2" not in name for some in names for name in some)
    assert ("rocket",) in names
    assert not any("flag" in name for some in names for name in some)


def test_pictures_are_bytes_with_alpha(tmp_path: Path) -> None:
    path = archive(tmp_path)
    emojis = catalogue(path)
    raw = pictures(path, emojis)
    assert raw.shape == (len(emojis), 64, 64, 4)
    assert raw[0, 32, 32].tolist() == [0, 0, 0, 255]
    assert raw[0, 0, 0, 3] == 0


def test_another_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / ARCHIVE).write_bytes(b"something else")
    with pytest.raises(HubError, match="checksum"):
        fetch(tmp_path)


def test_what_is_taught_has_a_plain_name(tmp_path: Path) -> None:
    emojis = catalogue(archive(tmp_path))
    assert [emojis[place].names[0] for place in taught(emojis)] == ["smile cat", "cat", "rocket"]
