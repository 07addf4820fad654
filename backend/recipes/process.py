"""The frame of each recipe's process: reads the params, runs, and tells how it ended.

    python -m backend.recipes.sft FOLDER/params.json

The run's folder is that of its params. Ends with exit code 0, or 1 after a Failed event.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import shutil
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from backend import events as ev
from backend.errors import BadInput, LabError, NoRoom
from backend.recipes import together
from backend.recipes.callbacks import peak_memory
from backend.recipes.params import P, check

ENVIRONMENT = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
    "DIFFUSERS_VERBOSITY": "error",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    # Threads that spin while they wait take the cores from the page, the engine and one another: with other work on
    # the machine training was measured 7 times slower than with threads that sleep.
    "OMP_WAIT_POLICY": "PASSIVE",
}
_NO_MEMORY = (
    *("can't allocate memory", "Cannot allocate memory", "out of memory", "bad_alloc"),
    *("pthread_create failed", "can't start new thread", "failed to map segment"),
)
_NO_DISK = ("No space left", "Disk quota exceeded", "PytorchStreamWriter failed")


def say(event: ev.Event) -> None:
    """Print the event's line. Of several processes that train together the first speaks, and all tell of failure."""
    if together.first() or isinstance(event, ev.Failed):
        print(ev.line(event), flush=True)


def main(model: type[P], run: Callable[[P, Path], None], argv: Sequence[str] | None = None) -> int:
    """Run a recipe from its command line. Returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", category=FutureWarning)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it misses a package of kernels at each import
    folder = Path(argv[0]).absolute().parent if argv else Path()
    try:
        _limit_memory(os.environ.get("ATELIER_MEMORY_LIMIT", ""))
        run(check(model, _read(argv)), folder)
    except Exception as error:
        failed = told(error, folder)
        if failed.code == "broken":
            traceback.print_exc()
        say(failed)
        return 1
    return 0


def leave(code: int) -> NoReturn:
    """End at once: everything is written, and taking PyTorch down in order takes seconds."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def told(error: Exception, folder: Path) -> ev.Failed:
    """What a person is told about `error`, looking through the chain of its causes."""
    for one in _chain(error):
        if isinstance(one, LabError):
            return ev.Failed(code=one.code, message=one.message, hint=one.hint)
    for one in _chain(error):
        text = f"{type(one).__name__}: {one}"
        number = one.errno if isinstance(one, OSError) else None
        if number in (errno.ENOSPC, errno.EDQUOT) or any(words in text for words in _NO_DISK):
            return _failed(_no_disk(folder))
        if (
            isinstance(one, MemoryError)
            or type(one).__name__ == "OutOfMemoryError"
            or number == errno.ENOMEM
            or any(words in text for words in _NO_MEMORY)
        ):
            return _failed(_no_memory(text))
    return ev.Failed(
        code="broken",
        message=f"Training broke off: {type(error).__name__}: {str(error)[:500]}",
        hint="The log has the details. Resume goes on from the last checkpoint, if there is one.",
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    one: BaseException | None = error
    seen: list[BaseException] = []  # some libraries tie a chain into a ring
    while one is not None and one not in seen:
        yield one
        seen.append(one)
        one = one.__cause__ or one.__context__


def _failed(error: LabError) -> ev.Failed:
    return ev.Failed(code=error.code, message=error.message, hint=error.hint)


def _no_memory(text: str) -> NoRoom:
    asked = re.search(r"allocate (\d+) bytes", text)
    sizes = [f"this process took {peak_memory():.1f} GB"]
    if asked:
        sizes.insert(0, f"{int(asked[1]) / 1e9:.2g} GB more were asked for")
    if limit := os.environ.get("ATELIER_MEMORY_LIMIT"):
        sizes.append(f"its limit is {limit} GB of address space")
    return NoRoom(
        f"Memory ran out: {', '.join(sizes)}.",
        "Use a smaller per_device_train_batch_size, a shorter max_length or a smaller model, then start again.",
        "no_room.memory",
    )


def _no_disk(folder: Path) -> NoRoom:
    free = shutil.disk_usage(folder).free if folder.exists() else 0
    return NoRoom(
        f"The disk is full: {free:,} bytes are free in {folder}.",
        "Free some space, then press Resume to go on from the last checkpoint.",
        "no_room.disk",
    )


def _read(argv: Sequence[str]) -> dict[str, object]:
    if len(argv) != 1:
        raise BadInput(f"{len(argv)} arguments were given; it takes one.", "Name the params file: params.json.")
    path = Path(argv[0])
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        raise BadInput(f"There is no file {str(path)!r}.", "Name the params file.") from None
    except ValueError as error:
        raise BadInput(f"{path.name} is not JSON: {error}.", "Write one object of settings.") from None
    if not isinstance(values, dict):
        raise BadInput(f"{path.name} holds {type(values).__name__}.", "Write one object of settings.")
    return values


def _limit_memory(text: str) -> None:
    """Bound the address space to `text` GB; 0 or nothing sets no bound."""
    import resource

    try:
        gigabytes = float(text or 0)
    except ValueError:
        raise BadInput(
            f"ATELIER_MEMORY_LIMIT is {text!r}; it must be a number of GB.", "Correct or unset it."
        ) from None
    if gigabytes > 0:
        size = int(gigabytes * 1e9)
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
