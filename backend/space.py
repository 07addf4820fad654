"""Publishes this repository as a Space.

    python -m backend.space NAME                      prints what would go, and changes nothing
    python -m backend.space NAME --go                 makes the Space NAME of yours, or brings it up to date
    python -m backend.space OWNER/NAME --go --private --hardware zero-a10g --volume OWNER/BUCKET

It takes your token from HF_TOKEN or from `hf auth login`. Variables of the environment whose names begin with ATELIER_
become the Space's variables, except those that say where things are on this machine.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.errors import BadInput, HubError, LabError

ROOT = Path(__file__).resolve().parents[1]
GOES = ("app.py", "backend", "ui", "docs", "requirements.txt", "packages.txt", "README.md", "LICENSE")
_HERE = ("ATELIER_HOME", "ATELIER_STARTER", "ATELIER_UNTIL", "ATELIER_SECRETS_KEY")  # of this machine, or secret


@dataclass(frozen=True)
class Shipment:
    """What goes: files with their bytes, the front matter, and variables of the Space."""

    files: Mapping[str, int]
    front: Mapping[str, Any]
    variables: Mapping[str, str]

    @property
    def words(self) -> str:
        """For the eye."""
        size = sum(self.files.values())
        listed = "\n".join(f"  {bytes:>9,}  {name}" for name, bytes in sorted(self.files.items()))
        front = "\n".join(f"  {key}: {value}" for key, value in self.front.items())
        chosen = "\n".join(f"  {key}={value}" for key, value in self.variables.items()) or "  none"
        return f"{len(self.files)} files, {size:,} bytes:\n{listed}\nFront matter:\n{front}\nVariables:\n{chosen}"


def pack(root: Path = ROOT, env: Mapping[str, str] | None = None) -> Shipment:
    """What would be published from `root`: what is committed or about to be, nothing that git ignores.

    Raises BadInput when the front matter is not one that a Space starts with.
    """
    env = os.environ if env is None else env
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard", "--", *GOES],
        cwd=root, capture_output=True, text=True,
    )  # fmt: skip
    names = [name for name in listed.stdout.splitlines() if (root / name).is_file()]
    if listed.returncode or not names:
        raise BadInput(f"{root} is not a git checkout of Atelier.", "Run this inside one.")
    files = {name: (root / name).stat().st_size for name in names}
    variables = {key: value for key, value in env.items() if key.startswith("ATELIER_") and key not in _HERE}
    return Shipment(files, front_matter(root), variables)


def front_matter(root: Path = ROOT) -> dict[str, Any]:
    """The README's head. Raises BadInput naming what a Space would stumble over."""
    import yaml

    text = (root / "README.md").read_text()
    parts = text.split("---\n", 2)
    if not text.startswith("---\n") or len(parts) < 3:
        raise BadInput("README.md has no front matter.", "It begins with --- and the settings of the Space.")
    front: dict[str, Any] = yaml.safe_load(parts[1])
    pinned = f"gradio[oauth]=={front.get('sdk_version')}"
    if front.get("sdk") != "gradio" or pinned not in (root / "requirements.txt").read_text():
        raise BadInput(
            f"sdk_version is {front.get('sdk_version')!r}, and requirements.txt asks for another Gradio.",
            "Write the same version in both.",
        )
    if not (root / str(front.get("app_file"))).is_file():
        raise BadInput(f"app_file is {front.get('app_file')!r}, which is not there.", "Name app.py.")
    return front


def publish(name: str, shipment: Shipment, *, private: bool, hardware: str, volume: str, root: Path = ROOT) -> str:
    """Make the Space or bring it up to date, in one commit; returns its address. Raises HubError."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    hub = HfApi()
    chosen: Any = hardware or None
    try:
        whole = name if "/" in name else f"{hub.whoami()['name']}/{name}"
        made = hub.create_repo(
            whole, repo_type="space", space_sdk="gradio", private=private, exist_ok=True,
            space_hardware=chosen,
        )  # fmt: skip
        for key, value in shipment.variables.items():
            hub.add_space_variable(whole, key, value)
        if volume:
            from huggingface_hub import Volume

            hub.set_space_volumes(whole, volumes=[Volume(type="bucket", source=volume, mount_path="/data")])
        hub.upload_folder(
            repo_id=whole, repo_type="space", folder_path=root, allow_patterns=list(shipment.files),
            delete_patterns=["backend/**", "ui/**", "docs/**"], commit_message="Atelier",
        )  # fmt: skip
    except LocalTokenNotFoundError as error:
        raise HubError("Nobody is signed in here.", "Run `hf auth login`, or set HF_TOKEN.") from error
    except (HfHubHTTPError, OSError) as error:
        raise HubError(
            f"The Hub said no: {error}", "Check the name and what your token may do; it must write."
        ) from error
    return str(made)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m backend.space", description="Publish this repository as a Space.")
    parser.add_argument("name", help="NAME or OWNER/NAME of the Space")
    parser.add_argument("--go", action="store_true", help="do it; without, only print what would go")
    parser.add_argument("--private", action="store_true")
    parser.add_argument("--hardware", default="", help="cpu-basic, zero-a10g, t4-small, l4x1, a100-large …")
    parser.add_argument(
        "--volume", default="", help="a bucket of yours, mounted at /data, that keeps runs over restarts"
    )
    asked = parser.parse_args(argv)
    try:
        shipment = pack()
        print(shipment.words)
        if not asked.go:
            print(f"Nothing was sent. Add --go to publish it as {asked.name}.")
            return 0
        place = publish(
            asked.name, shipment, private=asked.private, hardware=asked.hardware, volume=asked.volume
        )  # fmt: skip
        print(f"It is at {place}; the first build takes some minutes.")
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
