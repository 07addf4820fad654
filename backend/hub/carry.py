"""One download or upload, in a process of its own: it can be stopped at once, and never holds the page up.

    python -m backend.hub.carry < request.json

The request comes by standard input, since it may hold a sign-in; progress goes out as the lines of backend.events.
"""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from backend import events as ev
from backend.errors import LabError
from backend.hub.refusals import refusals

OTHER_FORMS = (  # the same weights again, in forms that are not read here, where there are safetensors
    *("*.bin", "*.pt", "*.pth", "*.h5", "*.msgpack", "*.ot", "*.onnx", "*.tflite", "*.ckpt", "*.gguf"),
    *("onnx/*", "openvino/*", "original/*", "coreml/*", "flax*"),
)
SILENCE = io.StringIO()  # where the library's own bars go
_EVERY = 0.2  # seconds between two words about progress


def say(event: ev.Event) -> None:
    print(ev.line(event), flush=True)


class Progress:
    """Counts bytes and says so a few times a second."""

    def __init__(self, total: float) -> None:
        self.done, self.total, self._said = 0.0, total, 0.0

    def add(self, count: float) -> None:
        self.done += count
        if time.monotonic() - self._said > _EVERY:
            self._said = time.monotonic()
            say(ev.Progressed(done=min(self.done, self.total), total=self.total, unit="bytes"))


def wanted(names: list[str], everything: bool) -> list[str]:
    """Which of a repository's files are brought: with safetensors, other forms of weights stay where they are."""
    if everything or not any(name.endswith(".safetensors") for name in names):
        return names
    return [name for name in names if not any(fnmatch(name, form) for form in OTHER_FORMS)]


def needed(request: Mapping[str, Any]) -> tuple[int, list[str], str]:
    """(bytes still to bring, files, commit) of a download. Raises what the Hub refuses with."""
    from huggingface_hub import HfApi, constants, snapshot_download

    name, kind, token = request["name"], request["kind"], request["token"] or False
    with refusals(name):
        told = HfApi(constants.ENDPOINT).repo_info(
            name, repo_type=kind, revision=request["revision"] or None, token=token
        )
        files = wanted(
            [one.rfilename for one in getattr(told, "siblings", None) or ()], bool(request.get("everything"))
        )
        dry = snapshot_download(
            name, repo_type=kind, revision=request["revision"] or None, token=token, allow_patterns=_exactly(files),
            dry_run=True,
        )  # fmt: skip
    missing = sum(one.file_size or 0 for one in dry if one.will_download)
    return missing, files, str(told.sha)


def _exactly(files: list[str]) -> list[str]:
    """As patterns that match these names alone."""
    return [name.replace("[", "[[]") for name in files]


def download(request: Mapping[str, Any]) -> None:
    """Bring a snapshot into the cache and compare every file with the Hub's own checksum."""
    from huggingface_hub import HfApi, constants, snapshot_download
    from tqdm.auto import tqdm  # type: ignore[import-untyped]  # noqa: PLC0415  # the child alone needs it

    name, kind = request["name"], request["kind"]
    token, revision = request["token"] or False, request["revision"] or None
    missing, files = int(request["bytes"]), list(request["files"])  # as it was planned
    progress = Progress(missing)

    class Bar(tqdm):
        """What huggingface_hub tells its progress to."""

        def __init__(self, *args: Any, **more: Any) -> None:
            self.counts = str(more.get("desc", "")).startswith("Reconstructing")
            super().__init__(*args, **more | {"file": SILENCE})

        def update(self, n: float | None = 1) -> Any:
            if self.counts:
                progress.add(n or 0)
            return super().update(n)

    say(ev.Started(info={"bytes": missing, "files": len(files)}))
    with refusals(name):
        place = snapshot_download(
            name, repo_type=kind, revision=revision, token=token, allow_patterns=_exactly(files), tqdm_class=Bar
        )
        say(ev.Progressed(done=missing, total=missing, unit="bytes"))
        say(ev.Logged(text="comparing checksums"))
        checked = HfApi(constants.ENDPOINT).verify_repo_checksums(name, repo_type=kind, revision=revision, token=token)
    absent = set(checked.missing_paths) & set(files)
    wrong = [one["path"] for one in checked.mismatches] + sorted(absent)
    for path in wrong:
        (Path(place) / path).resolve().unlink(missing_ok=True)  # what was brought wrong is fetched again next time
        (Path(place) / path).unlink(missing_ok=True)
    if wrong:
        raise LabError(
            f"{len(wrong)} of {len(files)} files of {name} do not have the Hub's checksum: {wrong[0]}.",
            "They were removed; download again.",
            "hub.checksum",
        )
    say(ev.Finished(values={"files": checked.checked_count, "bytes": missing, "place": str(place)}))


def upload(request: Mapping[str, Any]) -> None:
    """Bring files of this disk into a repository, in one commit, and compare what the Hub then has."""
    from huggingface_hub import CommitOperationAdd, HfApi, constants
    from huggingface_hub.hf_api import RepoFile
    from huggingface_hub.utils.tqdm import tqdm

    name, kind, files = request["name"], request["kind"], {to: Path(at) for to, at in request["files"].items()}
    progress = Progress(sum(path.stat().st_size for path in files.values()))
    update = tqdm.update

    def counted(bar: Any, n: float | None = 1) -> Any:
        if getattr(bar, "unit", "") == "B" and not str(bar.desc).startswith("New Data"):
            progress.add(n or 0)
        return update(bar, n)

    tqdm.update = counted  # its uploads take no class of ours
    say(ev.Started(info={"bytes": progress.total, "files": len(files)}))
    api = HfApi(constants.ENDPOINT, token=request["token"])
    operations = [CommitOperationAdd(to, path) for to, path in files.items()]
    sizes = {one.path_in_repo: one.upload_info for one in operations}
    with refusals(name):
        made = api.create_commit(name, operations, repo_type=kind, commit_message=request["message"])
        landed = {one.path: one for one in api.get_paths_info(name, list(files), repo_type=kind, revision=made.oid)}
    for to, told in sizes.items():
        there = landed.get(to)
        if (
            not isinstance(there, RepoFile)
            or there.size != told.size
            or (there.lfs and there.lfs.sha256 != told.sha256.hex())
        ):
            raise LabError(f"{to} did not land whole in {name}.", "Upload it again.", "hub.checksum")
    say(ev.Finished(values={"files": len(files), "bytes": progress.total, "place": str(made.commit_url)}))


def main() -> int:
    """Returns the exit code."""
    request = json.loads(sys.stdin.read())
    try:
        {"download": download, "upload": upload}[request["do"]](request)
    except LabError as error:
        say(ev.Failed(code=error.code, message=error.message, hint=error.hint))
        return 1
    except OSError as error:
        say(
            ev.Failed(
                code="no_room.disk", message=f"The disk can't take it: {error.strerror}.", hint="Free some space."
            )
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
