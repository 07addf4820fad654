"""A script as a notebook that opens in Colab: what to install, the data where they are small, the script."""

from __future__ import annotations

import ast
import base64
import json
from collections.abc import Sequence
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

NEEDED = ("transformers", "trl", "peft", "datasets", "accelerate")
EMBEDDED = 2_000_000  # bytes of a data file that a notebook carries


def view_notebook(title: str, script: str, samples: Sequence[Path]) -> str:
    """The code of a view as such a notebook: it carries those of `samples` that `script` names."""
    cells = [_cell("markdown", f"# {title}\n\nMade by Atelier."), _cell("code", "%pip install -q " + packages(script))]
    for path in samples:
        if str(path) in script:
            script = script.replace(str(path), path.name)
            cells.append(_file(path.name, path))
    if '"/' in script or "'/" in script:
        cells.append(_cell("markdown", "It names files of the machine it was made on; name yours where it differs."))
    return _whole([*cells, _cell("code", script.strip())])


def packages(script: str) -> str:
    """What to install for `script`: the packages that it imports and that are here, as they are here."""
    try:
        nodes = list(ast.walk(ast.parse(script)))
    except SyntaxError:
        nodes = []
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    known = packages_distributions()
    found = {dist for name in names for dist in known.get(name.partition(".")[0], [])[:1]}
    if "transformers" in found:
        found.add("accelerate")  # it brings PyTorch, and places models
    pinned = sorted(f"{name}=={version(name)}" for name in found - {"torch"})  # PyTorch fits the machine it is on
    return " ".join(pinned) or " ".join(f"{name}=={version(name)}" for name in NEEDED)


def notebook(title: str, script: str, dataset: Path | None = None) -> str:
    """The notebook as JSON, in format 4.5. `dataset` is the file on this disk that `script` reads, if it reads one."""
    cells = [
        _cell("markdown", f"# {title}\n\nMade by Atelier. With a GPU (Runtime → Change runtime type) it is quicker.")
    ]
    needed = packages(script) if "diffusers" in script else " ".join(f"{name}=={version(name)}" for name in NEEDED)
    cells.append(_cell("code", f"%pip install -q {needed}"))
    if dataset is not None:
        name = f"data{dataset.suffix}"
        script = script.replace(json.dumps(str(dataset), ensure_ascii=False), json.dumps(name))
        if dataset.stat().st_size <= EMBEDDED and dataset.suffix != ".parquet":
            cells.append(_cell("markdown", "The data that the run learned from."))
            cells.append(_file(name, dataset))
        else:
            cells.append(_cell("markdown", f"Upload the data first, as `{name}`: it is too large to travel in here."))
    return _whole([*cells, _cell("code", script.strip())])


def _file(name: str, path: Path) -> dict[str, Any]:
    """A cell that writes the file `name`."""
    if path.suffix != ".zip":
        return _cell("code", f"%%writefile {name}\n{path.read_text()}")
    packed = base64.b64encode(path.read_bytes()).decode()
    return _cell("code", f'import base64\n\nopen("{name}", "wb").write(base64.b64decode("{packed}"))')


def _whole(cells: list[dict[str, Any]]) -> str:
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
