"""A script as a notebook that opens in Colab: what to install, the data where they are small, the script."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

NEEDED = ("transformers", "trl", "peft", "datasets", "accelerate")
EMBEDDED = 2_000_000  # bytes of a data file that a notebook carries


def notebook(title: str, script: str, dataset: Path | None = None) -> str:
    """The notebook as JSON, in format 4.5. `dataset` is the file on this disk that `script` reads, if it reads one."""
    cells = [
        _cell("markdown", f"# {title}\n\nMade by Atelier. With a GPU (Runtime → Change runtime type) it is quicker.")
    ]
    cells.append(_cell("code", "%pip install -q " + " ".join(f"{name}=={version(name)}" for name in NEEDED)))
    if dataset is not None:
        name = f"data{dataset.suffix}"
        script = script.replace(json.dumps(str(dataset), ensure_ascii=False), json.dumps(name))
        if dataset.stat().st_size <= EMBEDDED and dataset.suffix != ".parquet":
            cells.append(_cell("markdown", "The data that the run learned from."))
            cells.append(_cell("code", f"%%writefile {name}\n{dataset.read_text()}"))
        else:
            cells.append(_cell("markdown", f"Upload the data first, as `{name}`: it is too large to travel in here."))
    cells.append(_cell("code", script.strip()))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    whole = {
        "cells": cells,
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}, "colab": {"provenance": []}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False)


def _cell(kind: str, text: str) -> dict[str, Any]:
    more: dict[str, Any] = {"execution_count": None, "outputs": []} if kind == "code" else {}
    return {"cell_type": kind, "metadata": {}, "source": text.splitlines(keepends=True)} | more
