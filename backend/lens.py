"""What a run's loss would see, worked out in a process of its own: the web process loads no PyTorch."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backend.errors import BadData, LabError
from backend.recipes.data import is_local

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 180
_HELD = 64  # answers that are kept
_SETTINGS = (  # that decide what the loss sees
    *("model", "dataset", "dataset_split", "columns", "bad_rows", "same_rows", "max_rows", "pick_rows", "max_length"),
    *("seed", "per_device_train_batch_size", "num_generations"),
)


class Lens:
    """Asks `backend.recipes.lens`, one question at a time, and remembers the answers."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = dict(env)
        self._held: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._lock = threading.Lock()

    def look(self, recipe: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """See `backend.recipes.lens.look`; names in `params` are resolved. Raises LabError."""
        params = {name: params[name] for name in _SETTINGS if name in params}
        question = json.dumps({"recipe": recipe, "params": params}, sort_keys=True)
        key = f"{question} {_version(str(params['dataset']))}"
        with self._lock:
            if key not in self._held:
                self._held[key] = self._ask(question)
                while len(self._held) > _HELD:
                    self._held.popitem(last=False)
            self._held.move_to_end(key)
            answer = self._held[key]
        return answer

    def check(self, recipe: str, params: Mapping[str, Any]) -> None:
        """That no row of a file is too long, where `long_rows` says that such a row stops a run. Raises BadData.

        Takes seconds if it isn't known yet. A file that is too large to be looked at in time is left to the run.
        """
        if params.get("long_rows") != "stop" or not is_local(str(params["dataset"])):
            return
        try:
            said = self.look(recipe, params)["long"]["problem"]
        except LabError as error:
            if error.code != "stopped.time":
                raise
            return
        if said:
            raise BadData(said["message"], said["hint"], said["code"])

    def _ask(self, question: str) -> dict[str, Any]:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "backend.recipes.lens"],
                input=question,
                capture_output=True,
                text=True,
                cwd=ROOT,
                env=self.env | {"PYTHONWARNINGS": "ignore"},
                timeout=SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise LabError(
                f"Reading the rows as the model does took more than {SECONDS} s.",
                "Use fewer rows, or try again when the machine is less busy.",
                "stopped.time",
            ) from None
        if done.returncode:
            raise RuntimeError(f"the lens broke:\n{done.stderr[-4000:]}")
        answer: dict[str, Any] = json.loads(done.stdout.rstrip().rpartition("\n")[2])
        if error := answer.get("error"):
            raise LabError(error["message"], error["hint"], error["code"])
        return answer


def _version(dataset: str) -> str:
    path = Path(dataset)
    if not path.is_file():
        return ""
    stat = path.stat()
    return f"{stat.st_mtime_ns} {stat.st_size}"
