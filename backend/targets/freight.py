"""The other end of a job on rented hardware: runs the recipe there and brings what it makes to the owner's repository.

    python -m backend.targets.freight REPOSITORY FOLDER MODULE

FOLDER is a copy of the repository: `job/` has the params and the files they name; the rest is what earlier jobs of the
same run have made, checkpoints among them, so that the recipe goes on from there. What it prints is the run's log.
Each machine of a group runs this.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from backend import events as ev
from backend.recipes import together

MANIFEST = "landed.json"  # {path: {bytes, sha256}} of everything that was made, written last
INPUTS = "job/inputs/"  # how params name files that travel with them
LOOK = 5.0  # seconds between two looks for its owner's wish to stop
_BROUGHT = ("checkpoint", "adapter", "model")  # kinds of artifact that are brought as soon as they are there
_LEFT = ("job", "code", ".cache", "dataset")  # folders that stay behind


def main(repository: str, folder: Path, module: str) -> int:
    """Returns the recipe's exit code."""
    from huggingface_hub import HfApi, constants

    api = HfApi(constants.ENDPOINT)
    params = json.loads((folder / "job" / "params.json").read_text())
    (folder / "params.json").write_text(json.dumps(_placed(params, folder)))
    here, gpus = together.group(os.environ), together.gpus(os.environ)
    sharding, why = together.sharding(os.environ, module.rpartition(".")[2])
    if why and (here or gpus > 1):
        print(ev.line(ev.Logged(level="warning", text=f"{why} Each process has the whole model.")), flush=True)
    child = subprocess.Popen(
        together.command(module, str(folder / "params.json"), max(1, gpus), gpus > 0, here, sharding),
        env=os.environ | together.seen(os.environ, gpus) | ({} if gpus or not here else {"ACCELERATE_USE_CPU": "true"}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if here and here.machine > 1:  # the first one brings what they make, and hears their owner
        assert child.stdout
        with child.stdout as lines:
            for line in lines:
                print(line, end="", flush=True)
        return child.wait()
    waiting: queue.Queue[str] = queue.Queue()
    carrier = threading.Thread(target=_carry, args=(api, repository, folder, waiting), daemon=True)
    carrier.start()
    threading.Thread(target=_listen, args=(api, repository, folder, child), daemon=True).start()
    assert child.stdout
    with child.stdout as lines:
        for line in lines:
            print(line, end="", flush=True)
            event = ev.parse(line)
            if isinstance(event, ev.Produced) and event.kind in _BROUGHT and event.file:
                waiting.put(event.file)
    code = child.wait()
    waiting.put("")
    carrier.join()
    made = manifest(folder)
    (folder / MANIFEST).write_text(json.dumps(made))
    _bring(api, repository, folder, [*made, MANIFEST], "What the run made")
    return code


def manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """{path: {bytes, sha256}} of what a run's folder has, its inputs left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name.partition("/")[0] not in (*_LEFT, MANIFEST, "params.json", "stop"):
            found[name] = {"bytes": path.stat().st_size, "sha256": digest(path)}
    return found


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _placed(value: Any, folder: Path) -> Any:
    """Params with the files that travelled with them named where they are now."""
    if isinstance(value, str) and INPUTS in value:
        return value.replace(INPUTS, f"{folder.absolute()}/{INPUTS}")
    if isinstance(value, list):
        return [_placed(one, folder) for one in value]
    if isinstance(value, dict):
        return {key: _placed(one, folder) for key, one in value.items()}
    return value


def _carry(api: Any, repository: str, folder: Path, waiting: queue.Queue[str]) -> None:
    """Bring each artifact as it appears; what fails here is brought at the end."""
    while name := waiting.get():
        try:
            copy = folder / ".cache" / "carry"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(folder / name, copy / name)  # the run goes on and may replace it meanwhile
            api.upload_folder(
                repo_id=repository,
                folder_path=copy,
                commit_message=f"{name}, while it goes on",
                delete_patterns=f"{name}/*",
            )
        except Exception as error:  # a checkpoint that did not get away must not end the training
            print(f"{name} was not brought away yet: {type(error).__name__}: {str(error)[:200]}", flush=True)


def _listen(api: Any, repository: str, folder: Path, child: subprocess.Popen[str]) -> None:
    """The owner's wish to stop comes as a file in the repository."""
    while child.poll() is None:
        time.sleep(LOOK)
        try:
            if api.file_exists(repository, "job/stop"):
                (folder / "stop").write_text("save")
                return
        except Exception as error:  # asked again soon
            print(f"The Hub did not answer: {type(error).__name__}", flush=True)


def _bring(api: Any, repository: str, folder: Path, names: list[str], message: str) -> None:
    from huggingface_hub import CommitOperationAdd

    operations = [CommitOperationAdd(name, folder / name) for name in names]
    for attempt in range(5):
        try:
            api.create_commit(repository, operations, commit_message=message)
            return
        except Exception as error:
            if attempt == 4:
                raise
            print(f"Bringing it away failed, once more: {type(error).__name__}: {str(error)[:200]}", flush=True)
            time.sleep(2**attempt)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]).absolute(), sys.argv[3]))
