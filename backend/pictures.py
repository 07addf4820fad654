"""Drawing, as the Lab sees it: requests with their names resolved, and each owner's gallery.

A gallery is a folder of PNG files that carry their own settings; nothing else is kept about them.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backend.catalog import Catalog
from backend.engines import image_adapters, image_script
from backend.engines.image import ImageParams
from backend.engines.picture import settings_of
from backend.errors import LabError, NotFound
from backend.image_catalog import ImageCatalog
from backend.recipes.params import check
from backend.rules import Rules
from backend.starter import IMAGE_ID, locate
from backend.store import Store, room

MOST, MOST_BYTES = 500, 1_000_000_000  # of a gallery
_NEED = 20_000_000  # bytes of disk for what is drawn next


class Pictures:
    """Galleries below the data folder, and what drawing needs of the catalog."""

    def __init__(self, catalog: Catalog, store: Store, rules: Rules) -> None:
        self.catalog = ImageCatalog(catalog, store)
        self._home = catalog.settings.home
        self._public = catalog.settings.public
        self._rules = rules
        self._lock = threading.Lock()
        self._known: dict[tuple[str, int], dict[str, Any]] = {}  # settings by file and when it was written

    # -- galleries ----------------------------------------------------------------------------------------------

    def folder(self, owner: str) -> Path:
        """Where the owner's pictures are; may not be there yet."""
        return self._home / "pictures" / hashlib.blake2b(owner.encode(), digest_size=10).hexdigest()

    def list(self, owner: str) -> Sequence[dict[str, Any]]:
        """The owner's pictures, newest first: {name, file, settings, made}, `made` in seconds since the epoch."""
        return [
            {"name": path.name, "file": str(path), "settings": self._settings(path, made), "made": made / 1e9}
            for made, _, path in self._files(owner)
        ]

    def remove(self, owner: str, name: str) -> None:
        """Raises NotFound."""
        path = self.folder(owner) / name
        if name != Path(name).name or path.suffix != ".png" or not path.is_file():
            raise NotFound(f"There is no picture {name[:80]!r} in your gallery.", "It may be gone.", "image.unknown")
        path.unlink(missing_ok=True)

    def settings(self, path: str | Path) -> dict[str, Any]:
        """What a picture's metadata tells, ours or another program's, as fields of ImageParams. Raises BadInput."""
        known = {name: value for name, value in settings_of(str(path)).items() if name in ImageParams.model_fields}
        return {name: value for name, value in known.items() if name not in ("folder", "names")}

    def bound(self, owner: str) -> str:
        """Let the oldest pictures go where there are too many; what is said of that, '' when none went."""
        with self._lock:
            files = self._files(owner)
            kept = size = 0
            for _, bytes_, path in files:
                size += bytes_
                if kept < MOST and size <= MOST_BYTES:
                    kept += 1
                else:
                    path.unlink(missing_ok=True)
        gone = len(files) - kept
        told = f"Your gallery keeps the newest {MOST} pictures, up to {MOST_BYTES / 1e9:.0f} GB: "
        return f"{told}{gone} older one{'s are' if gone > 1 else ' is'} gone" if gone else ""

    def _files(self, owner: str) -> Sequence[tuple[int, int, Path]]:
        """(written in ns, bytes, path), newest first."""
        found = []
        for path in self.folder(owner).glob("*.png"):
            try:
                stat = path.stat()
            except FileNotFoundError:  # removed this moment
                continue
            found.append((stat.st_mtime_ns, stat.st_size, path))
        return sorted(found, reverse=True)

    def _settings(self, path: Path, made: int) -> dict[str, Any]:
        key = (str(path), made)
        if key not in self._known:
            try:
                self._known[key] = self.settings(path)
            except LabError:  # not one of ours, or removed meanwhile
                self._known[key] = {}
            if len(self._known) > 20 * MOST:
                self._known.clear()
        return self._known.get(key, {})

    # -- requests -----------------------------------------------------------------------------------------------

    def asked(self, request: Mapping[str, Any], owner: str) -> dict[str, Any]:
        """A request whose names are places, for the engine. Raises BadInput, NotFound, Gated, HubError, NoRoom."""
        params = self._checked(request, owner)
        names = {}

        def place(name: str, found: str) -> str:
            names[found] = name
            return found

        worn = [
            {"name": place(one.name, self.catalog.adapter(one.name, owner)), "weight": one.weight}
            for one in params.adapters
        ]
        folder = self.folder(owner)
        with room(self._home, _NEED):
            folder.mkdir(parents=True, exist_ok=True)
        resolved = {"model": place(params.model, self.catalog.model(params.model, owner)), "adapters": worn}
        if params.control_model:
            resolved["control_model"] = place(params.control_model, self.catalog.control(params.control_model))
        return params.model_dump() | resolved | {"folder": str(folder), "names": names}

    def code(self, request: Mapping[str, Any], owner: str) -> str:
        """The plain diffusers script that draws the same. On a shared server it names no places of this disk."""
        params = self._checked(request, owner)
        places = {params.model: self.catalog.model(params.model, owner)}
        places |= {one.name: self.catalog.adapter(one.name, owner) for one in params.adapters}
        words = {name: token for name, place in places.items() if (token := image_adapters.token_of(place))}
        if params.model == IMAGE_ID:
            places[IMAGE_ID] = locate(IMAGE_ID)
        if self._public:
            places = {name: Path(place).name if place.startswith("/") else name for name, place in places.items()}
        return image_script.code(params, places, words)

    def _checked(self, request: Mapping[str, Any], owner: str) -> ImageParams:
        params = check(ImageParams, {name: value for name, value in request.items() if name not in ("folder", "names")})
        for model in filter(None, (params.model, params.control_model)):
            self._rules.model(model, owner)
        return params
