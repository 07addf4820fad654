"""Data as training sees them: taken in, fitting or not, row by row."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.catalog import Entry
from backend.door import door
from backend.errors import BadInput
from backend.recipes import PICTURES, data, image_data, method_named

if TYPE_CHECKING:
    from backend.lab import Lab


class TrainingData:
    """Samples, uploads and what the catalog knows beside them, for one recipe."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    @door
    def datasets(self, owner: str, recipe: str = "") -> list[Entry]:
        """Samples and uploads; with a recipe each tells whether it `fits`."""
        found = self._lab.catalog.datasets(owner)
        if not recipe:
            return found
        if recipe in PICTURES:
            return [replace(one, fits=image_data.fits(self._lab.catalog.dataset(one.name, owner))) for one in found]
        wants = method_named(recipe).wants
        return [replace(one, fits=data.fits(self._lab.catalog.dataset(one.name, owner), wants)) for one in found]

    @door
    def upload(self, owner: str, path: Path, name: str = "") -> str:
        """Take a visitor's dataset file in; returns `upload/ID/NAME`."""
        return self._lab.store.upload(owner, path, name or path.name)

    @door
    def upload_files(self, owner: str, files: Sequence[Path]) -> tuple[str, bool]:
        """Take a visitor's files in as one dataset: `upload/ID/NAME`, and whether it has pictures.

        A table is one file; pictures may be several, or a zip. Raises BadInput.
        """
        if not image_data.pictures(files):
            if len(files) > 1:
                raise BadInput(
                    f"{len(files)} files were given, and not all are pictures; a table is one file.",
                    "Upload one table, or pictures alone.",
                )
            name = self.upload(owner, files[0])
            return name, image_data.fits(self._lab.catalog.dataset(name, owner))
        with tempfile.TemporaryDirectory() as folder:
            packed = image_data.packed(files, Path(folder) / "pictures.zip")
            return self._lab.store.upload(owner, packed, packed.name), True

    @door
    def look(
        self,
        dataset: str,
        owner: str,
        recipe: str = "sft",
        limit: int = 20,
        columns: Mapping[str, str] | None = None,
        rules: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """A dataset as `recipe` sees it, every row of a file checked: see `Method.look`, `image_data.look`."""
        if recipe in PICTURES:
            return image_data.look(self._lab.catalog.dataset(dataset, owner), self._lab.settings.home, **(rules or {}))
        return method_named(recipe).look(self._lab.catalog.dataset(dataset, owner), limit, columns, rules)

    @door
    def lens(self, recipe: str, params: Mapping[str, Any], owner: str) -> dict[str, Any]:
        """Rows as the loss of such a run sees them, and how long rows are: see `backend.recipes.lens.look`.

        It takes seconds: the real trainer prepares them, in a process of its own. Raises what `launch` raises.
        """
        _, resolved = self._lab.checked(recipe, params, owner)
        return self._lab.lenses.look(recipe, resolved)
