"""Models that draw and what can be put on them: embedded, on disk, made by runs, in the cache, on the Hub."""

from __future__ import annotations

import json
from pathlib import Path

from backend.catalog import HUB_ID, WEIGHTS, Catalog, Entry
from backend.engines.pipeline_files import pickled
from backend.errors import BadInput, LabError, NotFound
from backend.recipes.loading import hub_errors
from backend.starter import IMAGE_ID, MODEL_ID
from backend.store import Store

_INDEX = "model_index.json"
_ADAPTER = "adapter.json"
SUGGESTED = (  # of the Hub, small or known to all
    "stabilityai/sd-turbo",
    "stable-diffusion-v1-5/stable-diffusion-v1-5",
    "stabilityai/sdxl-turbo",
    "black-forest-labs/FLUX.1-schnell",
)


class ImageCatalog:
    """What `owner` can draw with, and what a name stands for."""

    def __init__(self, catalog: Catalog, store: Store) -> None:
        self._catalog = catalog
        self._store = store
        self._home = catalog.settings.home

    def models(self, query: str = "", owner: str = "") -> list[Entry]:
        """Text-to-image pipelines; with a `query` also what the Hub finds, else a few of it that are known."""
        found = [Entry(IMAGE_ID, "starter", "ready here, 64 × 64")]
        for run in self._store.runs(owner, limit=200) if owner else ():
            if (run.folder / "model" / _INDEX).exists():
                found.append(Entry(f"run/{run.id}", "run", run.job.recipe))
        folders = sorted((self._home / "models").glob(f"*/{_INDEX}"))
        found += [Entry(f"models/{path.parent.name}", "disk") for path in folders]
        found += [
            Entry(f"models/{path.name}", "disk", "one file")
            for path in sorted((self._home / "models").glob("*.safetensors"))
        ]
        found += [Entry(name, "cache") for name in self._cached()]
        if query:
            found = [entry for entry in found if query.lower() in entry.name.lower()]
            found += self._catalog.search(query, "text-to-image")
        else:
            found += [Entry(name, "hub", "on the Hub") for name in SUGGESTED]
        return list({entry.name: entry for entry in reversed(found)}.values())[::-1]

    def model(self, name: str, owner: str = "") -> str:
        """What the engine loads for `name`. Raises NotFound, Gated, HubError, BadInput."""
        name = name.strip() or IMAGE_ID
        if name == IMAGE_ID:
            return name
        if name == MODEL_ID:
            raise BadInput(
                f"{name} writes text; it draws nothing.", f"Choose a text-to-image model such as {IMAGE_ID}.",
                "model.wrong_task",
            )  # fmt: skip
        if run := self._catalog.run(name, owner):
            if not (run.folder / "model" / _INDEX).exists():
                raise NotFound(
                    f"Run {run.id} has made no model that draws.",
                    f"Choose its base, and run/{run.id} as an adapter.",
                    "model.unknown",
                )
            return str(run.folder / "model")
        if name.startswith("models/"):
            return str(self._folder(self._home / "models" / Path(name).name, name))
        if name.startswith(("/", "~", ".")):
            return str(self._folder(self._catalog.own_path(name), name))
        return self._hub(name, _INDEX, "model")

    def adapters(self, owner: str, model: str = "") -> list[Entry]:
        """Adapters that the owner has uploaded or runs of theirs made, newest first, those that `fit` before others."""
        uploads = self._store.uploads(owner)
        found = [Entry(name, "upload", "uploaded") for name in uploads if name.endswith(WEIGHTS)]
        for run in self._store.runs(owner, limit=200):
            if place := _adapter_of(run.folder):
                held = json.loads((place / _ADAPTER).read_text())
                base = run.job.params.get("model") or held.get("base_model") or ""
                word = f" · {held['token']}" if held.get("token") else ""
                note = f"{str(held.get('kind', 'image_lora')).replace('_', ' ')}{word}"
                found.append(Entry(f"run/{run.id}", "run", note, fits=base in ("", model or IMAGE_ID)))
        return sorted(found, key=lambda one: not one.fits)

    def adapter(self, name: str, owner: str) -> str:
        """Where an adapter is: of `run/ID`, of `upload/ID/NAME` or that file's path, or a Hub id.

        Raises NotFound, Gated, HubError, BadInput.
        """
        name = name.strip()
        if run := self._catalog.run(name, owner):
            if place := _adapter_of(run.folder):
                return str(place)
            raise NotFound(
                f"Run {run.id} has no adapter that draws yet.", "Wait for its first saved one.", "adapter.unknown"
            )
        if name.startswith("upload/"):
            return str(self._store.uploaded(name, owner))
        path = Path(name)
        uploads = self._home / "uploads"
        if path.is_absolute() and path.resolve().is_relative_to(uploads.resolve()):
            key, _, file = str(path.resolve().relative_to(uploads.resolve())).partition("/")
            return str(self._store.uploaded(f"upload/{key}/{file}", owner))
        if name.startswith(("/", "~", ".")):
            path = self._catalog.own_path(name)
            if not path.exists():
                raise NotFound(f"There is no {name[:120]!r}.", "Check the path, or upload the file.", "adapter.unknown")
            return str(path)
        return self._hub(name, "", "adapter")

    def control(self, name: str) -> str:
        """A ControlNet: a Hub id, or a folder on a server of one's own."""
        if name.startswith(("/", "~", ".")):
            return str(self._catalog.own_path(name))
        return self._hub(name, "config.json", "ControlNet") if name else ""

    def _hub(self, name: str, probe: str, what: str) -> str:
        """Make sure `name` is in the cache or on the Hub."""
        from huggingface_hub import constants, try_to_load_from_cache

        if not HUB_ID.fullmatch(name):
            raise BadInput(
                f"The {what} {name[:80]!r} is neither a Hub id nor something here.",
                "Choose one from the list, or write it as owner/name.",
                f"{what.lower()}.invalid",
            )
        kept = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}" / "snapshots"
        there = try_to_load_from_cache(name, probe, constants.HF_HUB_CACHE) if probe else None
        if isinstance(there, str) or (not probe and any(kept.glob("*/*.safetensors"))):
            return name
        api = self._catalog.ask_hub(name)
        try:
            with hub_errors(name):
                api.repo_info(name, timeout=6)
        except LabError as error:
            if error.code == "hub.unreachable":
                self._catalog.hub_is_silent()
            raise
        return name

    def _folder(self, place: Path, name: str) -> Path:
        if place.suffix == ".safetensors" and place.is_file():
            return place
        if not place.exists():
            raise NotFound(
                f"There is no {name[:120]!r}.", "Check its spelling, or choose one from the list.", "model.unknown"
            )
        if place.is_file():
            raise pickled(place.name)
        if not (place / _INDEX).exists():
            raise NotFound(
                f"{name[:120]!r} is not a diffusers pipeline: it has no {_INDEX}.",
                "Point to a folder saved with save_pretrained, to a .safetensors file, or use a Hub id.",
                "model.unknown",
            )
        return place

    def _cached(self) -> list[str]:
        """Pipelines in the Hugging Face cache."""
        from huggingface_hub import constants

        found = Path(constants.HF_HUB_CACHE).glob(f"models--*/snapshots/*/{_INDEX}")
        return sorted({"/".join(path.parents[2].name.split("--")[1:]) for path in found})


def _adapter_of(folder: Path) -> Path | None:
    """Where in a run's folder its adapter is."""
    found = [folder / "adapter", *(path.parent for path in sorted(folder.glob(f"*/{_ADAPTER}")))]
    return next((one for one in found if (one / _ADAPTER).exists()), None)
