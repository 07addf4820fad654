"""Secrets: written, never read back, encrypted on disk, each its owner's alone; without a key in memory, and said."""

from __future__ import annotations

from pathlib import Path

import pytest

from backend.errors import BadInput, NotFound
from backend.vault import KEY, Vault


def vault(home: Path, key: str = "words of mine") -> Vault:
    home.mkdir(exist_ok=True)
    return Vault(home, {KEY: key} if key else {}, alone=False)


def test_names_are_told_values_are_not(home: Path) -> None:
    one = vault(home)
    one.put("ann", "wandb_api_key", "of-the-highest-order")
    (told,) = one.names("ann")
    assert (told["name"], told["given"], "value" in told) == ("WANDB_API_KEY", False, False)
    assert one.names("bob") == []
    one.give("ann", "WANDB_API_KEY", True)
    assert one.names("ann")[0]["given"]
    assert one.environment("ann", ["WANDB_API_KEY", "GONE"]) == {"WANDB_API_KEY": "of-the-highest-order"}
    assert one.environment("bob", ["WANDB_API_KEY"]) == {}


def test_on_disk_nothing_can_be_read_without_the_key(home: Path) -> None:
    vault(home).put("ann", "A_KEY", "of-the-highest-order")
    file = home / "secrets.json"
    assert b"highest" not in file.read_bytes()
    assert b"A_KEY" not in file.read_bytes()
    assert file.stat().st_mode & 0o077 == 0
    assert vault(home).environment("ann", ["A_KEY"]) == {"A_KEY": "of-the-highest-order"}
    with pytest.raises(BadInput, match="another key"):
        vault(home, "other words").names("ann")


def test_without_a_key_they_last_as_long_as_the_server(home: Path) -> None:
    one = vault(home, "")
    assert one.kept == "memory"
    one.put("ann", "A_KEY", "value")
    assert one.environment("ann", ["A_KEY"]) == {"A_KEY": "value"}
    assert not (home / "secrets.json").exists()
    assert vault(home, "").names("ann") == []


@pytest.mark.parametrize("name", ["PATH", "LD_PRELOAD", "PYTHONPATH", "ATELIER_HOME", "HF_ENDPOINT", "a b", "", "1X"])
def test_names_that_steer_processes_or_are_none_are_refused(home: Path, name: str) -> None:
    with pytest.raises(BadInput) as error:
        vault(home).put("ann", name, "value")
    assert error.value.code == "secret.name"


def test_written_over_and_deleted(home: Path) -> None:
    one = vault(home)
    one.put("ann", "A_KEY", "first")
    one.put("ann", "A_KEY", "second")
    assert one.environment("ann", ["A_KEY"]) == {"A_KEY": "second"}
    one.delete("ann", "A_KEY")
    assert one.names("ann") == []
    with pytest.raises(NotFound):
        one.delete("ann", "A_KEY")
    with pytest.raises(BadInput, match="0 characters"):
        one.put("ann", "A_KEY", "")


def test_a_run_gets_those_that_were_chosen_for_it(home: Path) -> None:
    one = vault(home)
    for name in ("A_KEY", "B_KEY", "C_KEY"):
        one.put("ann", name, "value")
    one.give("ann", "A_KEY", True)
    assert one.chosen("ann", None) == ["A_KEY"]  # nothing said: what new runs are given
    assert one.chosen("ann", []) == []
    assert one.chosen("ann", ["C_KEY", "B_KEY", "C_KEY"]) == ["B_KEY", "C_KEY"]
    with pytest.raises(NotFound, match="no secret 'A_KEY' of yours"):
        one.chosen("bob", ["A_KEY"])
