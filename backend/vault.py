"""Named secrets of an owner: written, never read back; given to the runs that their owner starts, by environment.

    vault.put(owner, "WANDB_API_KEY", value)
    vault.names(owner)                     which there are, and which new runs get where nothing else is said
    vault.chosen(owner, names)             which a run gets
    vault.environment(owner, names)        for the process of a run, and nobody else

They lie encrypted below the data folder. The key is `ATELIER_SECRETS_KEY`, else one in the keyring of the operating
system; without either they are kept in memory alone, and `kept` says so.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import re
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backend.door import door
from backend.errors import BadInput, NotFound
from backend.jobs import Run
from backend.store import room, write

log = logging.getLogger("atelier.vault")
KEY = "ATELIER_SECRETS_KEY"
MOST, LONGEST = 50, 10_000  # secrets of an owner, characters of one
_NAME = re.compile(r"[A-Z][A-Z0-9_]{1,63}")
# What decides how processes run or find their way is not for a visitor to set.
_KEPT_BACK = re.compile(
    r"(PATH|HOME|USER|SHELL|IFS|ENV|BASH_.*|LD_.*|DYLD_.*|PYTHON.*|ATELIER_.*|GRADIO_.*|SPACE_.*|HF_HOME|HF_ENDPOINT"
    r"|HF_HUB_.*|.*_PROXY|PIP_.*|UV_.*|CUDA_.*|OMP_.*|XDG_.*|TMPDIR|SSL_.*|REQUESTS_.*|CURL_.*|GIT_.*|NODE_.*)"
)


class Vault:
    """Every method raises LabError and nothing else."""

    def __init__(self, home: Path, env: Mapping[str, str], alone: bool) -> None:
        """`alone`: nobody else reaches this server, so the keyring of the operating system may be asked."""
        self._file = home / "secrets.json"
        self._env = env
        self._alone = alone
        self._lock = threading.Lock()
        self._memory: dict[str, dict[str, dict[str, Any]]] = {}
        self._cipher: Any = None
        self._kept = ""

    @property
    def kept(self) -> str:
        """Where they are kept: environment, keyring (on disk, encrypted by that key) or memory."""
        self._open()
        return self._kept

    @door
    def names(self, owner: str) -> list[dict[str, Any]]:
        """[{name, at, given}]: never a value. `given` says whether new runs get it where nothing else is said."""
        held = self._read().get(owner, {})
        return [{"name": name, "at": one["at"], "given": one["given"]} for name, one in sorted(held.items())]

    @door
    def put(self, owner: str, name: str, value: str) -> None:
        """Keep it, over what was there. Raises BadInput for a name or value that can't be."""
        name = name.strip().upper()
        if not _NAME.fullmatch(name):
            raise BadInput(
                f"{name[:70]!r} can't name a secret.", "Use capitals, digits and _, as in WANDB_API_KEY.", "secret.name"
            )
        if _KEPT_BACK.fullmatch(name):
            raise BadInput(f"{name} decides how processes run here.", "Choose another name.", "secret.name")
        if not value or len(value) > LONGEST or "\0" in value:
            raise BadInput(
                f"{name} has {len(value)} characters; use 1 to {LONGEST:,}.", "Paste the value.", "secret.value"
            )
        with self._lock:
            held = self._read()
            mine = held.setdefault(owner, {})
            if name not in mine and len(mine) >= MOST:
                raise BadInput(f"There are {MOST} secrets already.", "Delete one first.")
            given = bool(mine.get(name, {}).get("given"))
            mine[name] = {"value": value, "at": time.time(), "given": given}
            self._write(held)

    @door
    def give(self, owner: str, name: str, given: bool) -> None:
        """Whether runs that start from now on get it, where nothing else is said. Raises NotFound."""
        with self._lock:
            held = self._read()
            self._one(held, owner, name)["given"] = given
            self._write(held)

    @door
    def delete(self, owner: str, name: str) -> None:
        """Raises NotFound."""
        with self._lock:
            held = self._read()
            self._one(held, owner, name)
            del held[owner][name]
            self._write(held)

    @door
    def chosen(self, owner: str, names: Sequence[str] | None) -> list[str]:
        """What a run that starts now gets: the secrets of these names, or without any said those that are given.

        Raises NotFound.
        """
        held = self._read()
        if names is None:
            return [one["name"] for one in self.names(owner) if one["given"]]
        for name in names:
            self._one(held, owner, str(name))
        return sorted({str(name) for name in names})

    def grant(self, run: Run, names: Sequence[str]) -> None:
        """Note by name which of its owner's secrets a new run gets."""
        if names:
            write(run.folder / "grants.json", list(names))

    @door
    def environment(self, owner: str, names: Sequence[str]) -> dict[str, str]:
        """Their values, for the process of a run; those that are gone are left out."""
        mine = self._read().get(owner, {})
        return {name: str(mine[name]["value"]) for name in names if name in mine}

    # -- below --------------------------------------------------------------------------------------------------

    @staticmethod
    def _one(held: dict[str, dict[str, dict[str, Any]]], owner: str, name: str) -> dict[str, Any]:
        if name not in held.get(owner, {}):
            raise NotFound(f"There is no secret {name[:70]!r} of yours.", "Look again: it may be gone already.")
        return held[owner][name]

    def _open(self) -> None:
        """Find the key, once."""
        from cryptography.fernet import Fernet

        if self._kept:
            return
        if given := self._env.get(KEY, ""):
            self._kept, self._cipher = "environment", Fernet(_key(given))
        elif self._alone and (found := _from_keyring()):
            self._kept, self._cipher = "keyring", Fernet(_key(found))
        else:
            self._kept = "memory"

    def _read(self) -> dict[str, dict[str, dict[str, Any]]]:
        from cryptography.fernet import InvalidToken

        self._open()
        if self._cipher is None:
            return self._memory
        try:
            found: dict[str, dict[str, dict[str, Any]]] = json.loads(self._cipher.decrypt(self._file.read_bytes()))
        except FileNotFoundError:
            return {}
        except InvalidToken:
            raise BadInput(
                f"The secrets in {self._file} were kept under another key.",
                f"Set {KEY} to that key again, or delete the file to begin anew.",
                "secret.key",
            ) from None
        return found

    def _write(self, held: dict[str, dict[str, dict[str, Any]]]) -> None:
        if self._cipher is None:
            self._memory = held
            return
        with room(self._file.parent):
            new = self._file.with_suffix(".new")
            new.touch(0o600)
            new.write_bytes(self._cipher.encrypt(json.dumps(held).encode()))
            new.replace(self._file)


def _key(given: str) -> bytes:
    """A cipher's key from words of any length."""
    made = hashlib.scrypt(given.encode(), salt=b"atelier secrets", n=2**14, r=8, p=1, dklen=32)
    return base64.urlsafe_b64encode(made)


def _from_keyring() -> str:
    """The key in the keyring of the operating system, made when it isn't there; '' where there is no keyring."""
    import secrets

    import keyring
    from keyring.errors import KeyringError

    try:
        found = keyring.get_password("atelier", "secrets")
        if not found:
            found = secrets.token_urlsafe(32)
            keyring.set_password("atelier", "secrets", found)
    except KeyringError as error:
        log.info("no keyring: %s", error)
        return ""
    return found
