"""Recorded steps on the full data, with the real `datasets`: `python -m backend.tables.replay`."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from backend.errors import BadData
from backend.tables import child


def answer(request: dict[str, Any], say: child.Say) -> dict[str, str]:
    """{files, others, steps, folder} → {split: file name}. Raises BadData naming the step that can't be done."""
    folder = Path(request["folder"])
    with tempfile.TemporaryDirectory(dir=folder, prefix="work-") as work:
        os.environ["HF_DATASETS_CACHE"] = os.environ["HF_HOME"] = work
        os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
        return _run(request, folder, work, say)


def _run(request: dict[str, Any], folder: Path, work: str, say: child.Say) -> dict[str, str]:
    from datasets import DatasetDict, Value, concatenate_datasets, load_dataset
    from datasets.exceptions import DatasetGenerationError

    def load(files: list[str]) -> Any:
        return load_dataset("parquet", data_files=files, split="train", cache_dir=work)

    steps = request["steps"]
    space: dict[str, Any] = {"Value": Value, "concatenate_datasets": concatenate_datasets}
    try:
        space["dataset"] = load(request["files"])
        space["others"] = {name: load(files) for name, files in request["others"].items()}
        for number, code in enumerate(steps):
            say(number, len(steps))
            exec(code, space)  # our own lines: every value in them is written by repr()
        result = space["dataset"]
        parts = dict(result) if isinstance(result, DatasetDict) else {"train": result}
        if not all(len(part) for part in parts.values()):
            raise BadData("No rows are left.", "Change the filters.")
        for split, part in parts.items():
            part.to_parquet(str(folder / f"{split}.parquet"), batch_size=20_000)
    except (KeyError, ValueError, TypeError, ArithmeticError, DatasetGenerationError) as error:
        raise BadData(f"The steps can't be done: {str(error)[:300]}", "Look at the preview and change them.") from error
    say(len(steps), len(steps))
    return {split: f"{split}.parquet" for split in parts}


if __name__ == "__main__":
    child.serve(answer)
