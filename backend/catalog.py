"""The window on models and datasets: embedded, on disk, in the cache, on the Hub.

Names a visitor may give:  a Hub id `owner/name` · `models/NAME` (a folder below the data folder) · `run/ID` (what
that run of theirs made, adapter or dataset) · `upload/ID/NAME` · `sample/NAME` · and, on a server that only its
owner reaches, a path.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.engines.tasks import TASKS, kind_in
from backend.errors import BadInput, HubError, LabError, NotFound
from backend.jobs import Run
from backend.recipes.loading import hub_errors
from backend.recipes.part import Part
from backend.recipes.provider import NAME as PROVIDER
from backend.settings import Settings
from backend.starter import EMBEDDER_ID, MODEL_ID, SAMPLES, embedder_ready
from backend.store import Store

HUB_ID = re.compile(r"[\w.\-]{1,96}(/[\w.\-]{1,96})?")
DATASETS = ("rows.jsonl",)  # what a run that makes a dataset writes into its folder
WEIGHTS = ".safetensors"  # the ending of an uploaded file that is an adapter, and no dataset
_QUIET = 60.0  # seconds that we believe what we last saw of the Hub: that it answers, or that it doesn't
_PATIENCE = 4.0  # seconds for its first word


@dataclass(frozen=True)
class Entry:
    """One thing to choose; `fits` what was asked for.

    `source` is starter, disk, cache, run, upload, sample, hub or provider.
    """

    name: str
    source: str
    note: str = ""
    fits: bool = True


class Catalog:
    """What `owner` can choose, and what a name stands for."""

    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.store = store
        self._hub_silent_until = self._hub_heard_until = 0.0
        self._cached: tuple[float, list[Entry]] = (-_QUIET, [])
        self._cached_kinds: dict[str, str] = {}  # by name, as backend.engines.tasks tells them

    # -- models -------------------------------------------------------------------------------------------------

    def models(self, query: str = "", task: str = "", owner: str = "") -> list[Entry]:
        """Chat models, or those for a `task`: the starter, what the owner's runs made, folders, the cache, and with a
        `query` what the Hub finds.

        Without one, a task's list ends with small models of the Hub that do it well.
        """
        kinds = TASKS[task].kinds if task else ("causal",)
        note = "knows little but English" if task == "translation" else "ready here"
        found = [Entry(MODEL_ID, "starter", note)] if "causal" in kinds else []
        if "embed" in kinds:
            there = embedder_ready(self.settings.starter)
            found.append(Entry(EMBEDDER_ID, "starter", "ready here" if there else "fetched first, 84 MB"))
        for run in self.store.runs(owner, limit=200) if owner else ():
            folder = run.folder / "model"
            if (folder / "config.json").exists() and kind_in(folder) in kinds:
                found.append(Entry(f"run/{run.id}", "run", run.job.recipe))
        folders = sorted((self.settings.home / "models").glob("*/config.json"))
        found += [
            Entry(f"models/{path.parent.name}", "disk") for path in folders if not task or kind_in(path.parent) in kinds
        ]
        found += [entry for entry in self._cache() if not task or self._cached_kinds.get(entry.name) in kinds]
        if query:
            found = [entry for entry in found if query.lower() in entry.name.lower()]
            found += self.search(query, task or "text-generation")
        elif task:
            found += [Entry(name, "hub", "on the Hub") for name in TASKS[task].suggested]
        return list({entry.name: entry for entry in reversed(found)}.values())[::-1]

    def model(self, name: str, owner: str = "") -> str:
        """What a process loads for `name`; checked as far as it can be without loading. `run/ID` is the owner's.

        Raises NotFound, Gated, HubError, BadInput.
        """
        name = name.strip() or MODEL_ID
        if name in (MODEL_ID, EMBEDDER_ID):
            return name
        if run := self.run(name, owner):
            if not (run.folder / "model" / "config.json").exists():
                raise NotFound(
                    f"Run {run.id} has made no whole model.",
                    f"Choose its base, and run/{run.id} as the adapter; or merge the two first.",
                    "model.unknown",
                )
            return str(run.folder / "model")
        if name.startswith("models/"):
            return str(self._model_folder(self.settings.home / "models" / Path(name).name, name))
        if name.startswith(("/", "~", ".")):
            return str(self._model_folder(self.own_path(name), name))
        if not HUB_ID.fullmatch(name):
            raise BadInput(
                f"The model {name[:80]!r} is neither a Hub id nor a folder.",
                f"Write it as owner/name, for example {MODEL_ID}.",
                "model.invalid",
            )
        self._on_hub(name, "model")
        return name

    def kind(self, name: str, task: str) -> str:
        """The kind of the model `name`, as backend.engines.tasks tells them; of one not on this disk, the likeliest."""
        if name in (MODEL_ID, EMBEDDER_ID):
            return "causal" if name == MODEL_ID else "embed"
        self._cache()
        place = Path(self.model(name))
        found = kind_in(place) if place.is_dir() else self._cached_kinds.get(name, "")
        return found or next(kind for kind in TASKS[task].kinds if kind != "causal")

    def adapter(self, name: str, owner: str) -> str:
        """The folder of `run/ID`'s adapter, a checked path or a Hub id; '' stays ''."""
        name = name.strip()
        if not name:
            return ""
        run = self.run(name, owner)
        if run is None:
            if name.startswith(("/", "~", ".")):
                return str(self.own_path(name))
            if not HUB_ID.fullmatch(name):
                raise BadInput(
                    f"The adapter {name[:80]!r} is not run/ID, a Hub id or a folder.", "Choose one from the list."
                )
            self._on_hub(name, "adapter")
            return name
        if run.job.recipe == "reward" and (run.folder / "model" / "config.json").exists():
            return str(run.folder / "model")
        if not (run.folder / "adapter" / "adapter_config.json").exists():
            raise NotFound(
                f"Run {run.id} has no adapter yet.",
                "Wait for its first saved one, or stop it with Save.",
                "adapter.unknown",
            )
        return str(run.folder / "adapter")

    def answerer(self, name: str, owner: str) -> str:
        """What answers under `name`: a model, or MODEL + ADAPTER; `run/ID` alone is what that run made.

        `owner/name:provider`, a model at an Inference Provider, is taken as it is.
        """
        if PROVIDER.fullmatch(name.strip()):
            return name.strip()
        model, _, adapter = (part.strip() for part in name.partition(" + "))
        run = self.run(model, owner)
        if run and not adapter and not (run.folder / "model" / "config.json").exists():
            model, adapter = self.base_of(model, owner), model
        places = self.model(model, owner), self.adapter(adapter, owner)
        return " + ".join(place for place in places if place)

    def adapters(self, owner: str, model: str) -> list[Entry]:
        """Adapters that write, made by the owner's runs for `model`, newest first."""
        return [
            Entry(f"run/{run.id}", "run", f"{run.job.recipe} on {run.job.params.get('dataset', '')}")
            for run in self.store.runs(owner, limit=200)
            if run.job.params.get("model") == model
            and run.job.recipe != "reward"
            and (run.folder / "adapter" / "adapter_config.json").exists()
        ]

    def base_of(self, adapter: str, owner: str) -> str:
        """The model that `run/ID` was tuned from, '' when the name is not a run's."""
        run = self.run(adapter, owner)
        return str(run.job.params.get("model", "")) if run else ""

    # -- datasets -----------------------------------------------------------------------------------------------

    def datasets(self, owner: str) -> list[Entry]:
        """Samples, the owner's uploads, and what their runs made; on a server of one's own also the cache."""
        found = [Entry(name, "sample") for name in SAMPLES]
        uploads = self.store.uploads(owner)
        found += [Entry(name, "upload") for name in uploads if not name.endswith(WEIGHTS)]
        for run in self.store.runs(owner, limit=200):
            if any((run.folder / name).exists() for name in DATASETS):
                found.append(Entry(f"run/{run.id}", "run", f"{run.job.recipe} on {run.job.params.get('dataset', '')}"))
        if not self.settings.public:
            found += [Entry(name, "cache") for name in self._cached_datasets()]
        return found

    def _cached_datasets(self) -> list[str]:
        """In the Hugging Face cache, by name."""
        from huggingface_hub import constants

        folders = Path(constants.HF_HUB_CACHE).glob("datasets--*/snapshots/*/*")
        return sorted({"/".join(path.parents[2].name.split("--")[1:]) for path in folders})

    def dataset(self, name: str, owner: str) -> str:
        """What a process loads for `name`: a sample id, a file, or a Hub id, which may say which part of it."""
        name = name.strip()
        if name.startswith("upload/"):
            return str(self.store.uploaded(name, owner))
        if run := self.run(name, owner):
            return str(self._made(run))
        if name.startswith("sample/"):
            if name not in SAMPLES:
                raise NotFound(
                    f"There is no sample {name[:60]!r}.", f"Choose one of {', '.join(SAMPLES)}.", "data.unknown"
                )
            return name
        if name.startswith(("/", "~", ".")):
            path = self.own_path(name)
            if not path.exists():
                raise NotFound(
                    f"There is no file {name[:120]!r}.", "Check the path or upload the file.", "data.unknown"
                )
            return str(path)
        self.hub_id(which := Part.read(name).name)
        self._on_hub(which, "dataset")
        return name

    def hub_id(self, name: str) -> None:
        """Raises BadInput for what can't be the name of a dataset on the Hub."""
        if not HUB_ID.fullmatch(name):
            raise BadInput(
                f"The dataset {name[:80]!r} is neither a sample, an upload nor a Hub id.",
                "Choose one from the list, upload a file, or write owner/name.",
                "data.invalid",
            )

    # -- below --------------------------------------------------------------------------------------------------

    def run(self, name: str, owner: str) -> Run | None:
        """The owner's run behind `run/ID`, None for a name of another form. Raises NotFound."""
        if not name.startswith("run/"):
            return None
        run = self.store.run(name.removeprefix("run/"))
        if run.job.owner != owner:
            raise NotFound(f"There is no run {run.id!r} of yours.", "Open it from the Runs list.", "run.unknown")
        return run

    def _made(self, run: Run) -> Path:
        """The dataset that a run made."""
        for name in DATASETS:
            if (file := run.folder / name).exists():
                return file
        raise NotFound(f"Run {run.id} has made no dataset yet.", "Wait until it has its first rows.", "data.unknown")

    def own_path(self, name: str) -> Path:
        """A path of this machine; a shared server reads none. Raises BadInput."""
        if self.settings.public:
            raise BadInput(
                f"{name[:80]!r} is a path; on a shared server paths are not read.",
                "Upload the file or use a Hub id.",
                "path.refused",
            )
        return Path(name).expanduser().absolute()

    def _model_folder(self, folder: Path, name: str) -> Path:
        if not (folder / "config.json").exists():
            raise NotFound(
                f"{name[:120]!r} is not a model folder: it has no config.json.",
                "Point to a folder saved with save_pretrained, or use a Hub id.",
                "model.unknown",
            )
        try:
            json.loads((folder / "config.json").read_text())["model_type"]
        except (ValueError, KeyError, TypeError):
            raise BadInput(
                f"{name[:120]!r} has a config.json that transformers can't read.",
                "Save the model again with save_pretrained.",
                "model.invalid",
            ) from None
        return folder

    def _cache(self) -> list[Entry]:
        """Models in the Hugging Face cache that have safetensors; looked up at most twice a minute."""
        from huggingface_hub import constants, scan_cache_dir
        from huggingface_hub.errors import CacheNotFound

        at, entries = self._cached
        if time.monotonic() - at > 30:
            try:
                repos = scan_cache_dir(constants.HF_HUB_CACHE).repos
            except CacheNotFound:
                repos = frozenset()
            entries = [
                Entry(repo.repo_id, "cache", f"{repo.size_on_disk / 1e9:.1f} GB")
                for repo in sorted(repos, key=lambda repo: -repo.last_accessed)
                if repo.repo_type == "model"
                and {"config.json"} <= (names := {f.file_name for rev in repo.revisions for f in rev.files})
                and any(n.endswith(".safetensors") for n in names)
            ]
            self._cached_kinds = {
                repo.repo_id: kind_in(rev.snapshot_path) for repo in repos for rev in list(repo.revisions)[:1]
            }
            self._cached = (time.monotonic(), entries)
        return entries

    def search(self, query: str, task: str) -> list[Entry]:
        """Models of the Hub for a task of its own naming, the most fetched first; none when it is silent."""
        try:
            found = self.ask_hub("search").list_models(search=query, filter=task, sort="downloads", limit=20)
            with hub_errors(query):
                return [Entry(info.id, "hub", f"{info.downloads or 0:,} downloads") for info in found]
        except HubError:
            self.hub_is_silent()
            return []

    def hub_is_silent(self) -> None:
        """It did not answer: don't ask for a while."""
        self._hub_silent_until = time.monotonic() + _QUIET

    def ask_hub(self, name: str) -> Any:
        """The Hub's client, once the Hub has said a word: without a network the client tries for half a minute."""
        import httpx2
        from huggingface_hub import HfApi, constants, get_session

        now = time.monotonic()
        if not constants.HF_HUB_OFFLINE and now >= self._hub_silent_until:
            if now < self._hub_heard_until:
                return HfApi(constants.ENDPOINT)
            try:
                get_session().head(constants.ENDPOINT, timeout=_PATIENCE)
                self._hub_heard_until = now + _QUIET
                return HfApi(constants.ENDPOINT)
            except httpx2.HTTPError:
                self._hub_silent_until = now + _QUIET
        raise HubError(
            f"{name!r} is not on this machine, and the Hub can't be reached.",
            "Use the starter and the samples, or try again in a minute.",
            "hub.unreachable",
        )

    def _on_hub(self, name: str, kind: str) -> None:
        """Make sure `name` is in the cache or on the Hub."""
        from huggingface_hub import constants, try_to_load_from_cache

        repo_type = "dataset" if kind == "dataset" else "model"
        probe = {"model": "config.json", "adapter": "adapter_config.json", "dataset": "README.md"}[kind]
        if isinstance(try_to_load_from_cache(name, probe, constants.HF_HUB_CACHE, repo_type=repo_type), str):
            return
        api = self.ask_hub(name)
        try:
            with hub_errors(name):
                api.repo_info(name, repo_type=repo_type, timeout=6)
        except LabError as error:
            if error.code == "hub.unreachable":
                self.hub_is_silent()
            raise
