"""A Hub dataset's split, read where it is: the Parquet that the Hub converted, or the repository's own.

A page reads the bytes of its own row groups through `hf://`. What needs every row (figures, search, SQL, quality)
works on a part brought near with `Tables.nearby`, and says so. The visitor's token opens private and gated ones; it
lives in the filesystem object and nowhere else. A repository without Parquet (the Hub converts no private ones) has
its CSV, JSON or text files fetched, at most FETCHED bytes of them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from backend.errors import BadData, NotFound
from backend.recipes.loading import hub_errors
from backend.tables import child
from backend.tables.table import Database, Table, described

if TYPE_CHECKING:
    from huggingface_hub import HfFileSystem

CONVERTED = "refs/convert/parquet"
FILES = 400  # Parquet files of one split that are opened
NEAR = 512 << 20  # bytes of them that are brought here
FETCHED = 1 << 30  # bytes of other files
RAW = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".txt", ".xlsx")  # read when there is no Parquet
_SPLIT = re.compile(r"(?:^|/)([a-z_]+)(?:-\d{5}-of-\d{5}|/\d+)?\.parquet$")
_NAMED = re.compile(r"(?:^|[/_.\-])(train|training|test|testing|eval|evaluation|validation|valid|dev|val)(?=[/_.\-]|$)")
_SPLITS = {"training": "train", "valid": "validation", "val": "validation", "dev": "validation"}
_SPLITS |= dict.fromkeys(("testing", "eval", "evaluation"), "test")
_SETTINGS = {"dataset_infos.json", "dataset_dict.json", "dataset_info.json", "state.json", "config.json"}


@dataclass(frozen=True)
class Listing:
    """What a commit holds: paths by (config, split), in order; `raw` when they are not Parquet."""

    files: dict[tuple[str, str], list[str]]
    commit: str
    raw: bool = False

    def pick(self, name: str, config: str, split: str) -> tuple[str, str]:
        """An empty config is `default` or the first, an empty split `train` or the first. Raises NotFound."""
        configs = list(dict.fromkeys(config for config, _ in self.files))
        config = config or ("default" if "default" in configs else configs[0])
        in_config = [split for c, split in self.files if c == config]
        split = split or ("train" if "train" in in_config else (in_config or [""])[0])
        if (config, split) not in self.files:
            raise NotFound(
                f"{name} has no split {split!r} of {config!r}.",
                f"Choose one of {', '.join(f'{c}/{s}' for c, s in self.files)[:300]}.",
                "data.unknown",
            )
        return config, split

    def splits(self) -> dict[str, list[str]]:
        """{config: [split]}."""
        found: dict[str, list[str]] = {}
        for config, split in self.files:
            found.setdefault(config, []).append(split)
        return found


def grouped(paths: Iterable[str], commit: str) -> Listing | None:
    """A repository's own files by split: its Parquet, else its CSV, JSON or text; None when it has neither."""
    own: dict[tuple[str, str], list[str]] = {}
    raw: dict[tuple[str, str], list[str]] = {}
    for path in sorted(paths):
        if path.endswith(".parquet"):
            match = _SPLIT.search(path)
            own.setdefault(("default", _called(match)), []).append(path)
        elif path.lower().endswith(RAW) and not PurePosixPath(path).name.startswith(".") and _is_data(path):
            match = _NAMED.search(path)
            raw.setdefault(("default", _called(match)), []).append(path)
    found = own or raw
    return Listing(found, commit, raw=not own) if found else None


def _called(match: re.Match[str] | None) -> str:
    """A split by the name that `datasets` gives it."""
    split = match[1] if match else "train"
    return _SPLITS.get(split, split)


def _is_data(path: str) -> bool:
    name = PurePosixPath(path).name
    return name not in _SETTINGS and not (name.endswith(".txt") and name.lower().startswith(("readme", "license")))


def listing(name: str, revision: str = "", token: str | None = None) -> Listing:
    """Raises NotFound, Gated, HubError, BadData."""
    with hub_errors(name):
        return _listed(_filesystem(token), name, revision)


def open_split(
    folder: Path, name: str, config: str, split: str, found: Listing, token: str | None, say: child.Say
) -> Table:
    """A split whose Parquet is read where it is. What is worked out about it is kept below `folder`."""
    config, split = found.pick(name, config, split)
    with hub_errors(name):
        system = _filesystem(token)
        prefix, paths = f"datasets/{name}@", found.files[config, split]
        partial = "the first 5 GB, as converted by the Hub" if any("/partial-" in path for path in paths) else ""
        if len(paths) > FILES:
            paths, partial = paths[:FILES], f"the first {FILES} of {len(paths):,} files"
        assert all(path.startswith(prefix) for path in paths)
        counts, metadata = _counts(system, paths, say)
    database = Database(filesystem=system)
    urls = tuple(f"hf://{path}" for path in paths)
    return Table(
        name=name,
        files=urls,
        counts=counts,
        columns=described(database, urls[0], metadata),
        folder=folder / key(name, config, split, found.commit),
        database=database,
        partial=partial,
        load=loading(name, config, split, found.commit),
        remote=True,
    )


def key(name: str, config: str, split: str, commit: str) -> str:
    """The folder's name for what is kept of one split of one commit."""
    return hashlib.sha256(f"{name} {config} {split} {commit}".encode()).hexdigest()[:24]


def loading(name: str, config: str, split: str, commit: str) -> str:
    """The expression with which `datasets` loads it."""
    which = [json.dumps(part, ensure_ascii=False) for part in ((name,) if config == "default" else (name, config))]
    return f'load_dataset({", ".join(which)}, split={json.dumps(split, ensure_ascii=False)}, revision="{commit}")'


def near(table: Table, say: child.Say, most: int = NEAR) -> tuple[list[Path], str]:
    """The first files of a remote table brought here, at least one and at most `most` bytes; and what they lack."""
    system = table.database.filesystem
    kept: list[Path] = []
    size = 0
    with hub_errors(table.name):
        for number, url in enumerate(table.files):
            size += int(system.size(url))
            if kept and size > most:
                break
            kept.append(_fetched(system, url, table.folder / f"{number:05d}.parquet"))
            say(len(kept), len(table.files))
    partial = table.partial
    if len(kept) < len(table.files):
        rows = sum(table.counts[: len(kept)])
        partial = f"the first {rows:,} of {table.rows:,} rows"
    return kept, partial


def fetch(folder: Path, name: str, paths: list[str], token: str | None, say: child.Say) -> tuple[Path, str]:
    """Files that are not Parquet, brought into `folder`: what to read there, and what it lacks."""
    with hub_errors(name):
        system = _filesystem(token)
        kept, size = [], 0
        for number, path in enumerate(paths):
            size += int(system.size(path))
            if size > FETCHED:
                break
            kept.append(_fetched(system, path, folder / f"{number:05d}{PurePosixPath(path).suffix.lower()}"))
            say(number + 1, len(paths))
    if not kept:
        raise BadData(
            f"{name} has no Parquet, and its first file has {size / 1e9:.1f} GB; at most {FETCHED >> 30} are fetched.",
            "Choose another split, or download a part of it and upload that.",
        )
    partial = f"the first {len(kept)} of {len(paths):,} files" if len(kept) < len(paths) else ""
    return (kept[0] if len(kept) == 1 else folder), partial


def _fetched(system: Any, path: str, file: Path) -> Path:
    """Whole or not at all; what is here already is not asked for again: the path names a commit."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_suffix(".new")
        system.get_file(path, str(new))
        new.replace(file)
    return file


def card(name: str, revision: str, token: str | None, most: int) -> str:
    """The README below its settings, at most `most` characters; '' when there is none."""
    from huggingface_hub.errors import EntryNotFoundError

    system = _filesystem(token)
    try:
        with system.open(f"datasets/{name}@{revision or 'main'}/README.md", "rb") as file:
            text = file.read(4 * most).decode("utf-8", "replace")
    except (FileNotFoundError, EntryNotFoundError):
        system._api.dataset_info(name)  # raises when it is the dataset that is missing
        return ""
    if text.startswith("---"):
        text = text.partition("\n---")[2]
    return str(text).strip()[:most]


# -- the cache of this machine ----------------------------------------------------------------------------------


def cached(name: str, revision: str = "") -> tuple[Path, Listing] | None:
    """The folder of a snapshot in the cache, and what it holds; None when there is nothing to read."""
    from huggingface_hub import constants

    home = Path(constants.HF_HUB_CACHE) / f"datasets--{name.replace('/', '--')}"
    ref = home / "refs" / (revision or "main")
    commit = ref.read_text().strip() if ref.is_file() else revision
    if not commit and not revision:
        newest = sorted(home.glob("snapshots/*"), key=lambda path: path.stat().st_mtime)
        commit = newest[-1].name if newest else ""
    folder = home / "snapshots" / commit
    if not commit or not folder.is_dir():
        return None
    found = grouped((p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()), commit)
    return (folder, found) if found else None


# -- below ------------------------------------------------------------------------------------------------------


def _filesystem(token: str | None) -> HfFileSystem:
    """`False` asks without a token: a server's own sign-in is not lent to visitors."""
    from huggingface_hub import HfFileSystem, constants

    class Pinned(HfFileSystem):
        """Every path names a commit, so nothing in it changes; DuckDB asks when a file was modified."""

        def modified(self, path: str, **kwargs: Any) -> datetime:
            return datetime(2000, 1, 1, tzinfo=UTC)

    return Pinned(endpoint=constants.ENDPOINT, token=token or False, skip_instance_cache=True)


def _listed(system: Any, name: str, revision: str) -> Listing:
    """Converted files are of the main branch only."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    api = system._api
    try:
        sha = str(api.dataset_info(name, revision=revision or None).sha)
        newest = sha if not revision else str(api.dataset_info(name).sha)
    except GatedRepoError:
        raise
    except RevisionNotFoundError as error:
        raise NotFound(
            f"{name} has no revision {revision[:80]!r}.", "Choose a branch, a tag or a commit.", "hub.unknown"
        ) from error
    except RepositoryNotFoundError as error:
        raise NotFound(
            f"The Hub has no dataset {name!r}, or it is private.",
            "Check the spelling; sign in for a private one.",
            "hub.unknown",
        ) from error
    converted: dict[tuple[str, str], list[str]] = {}
    if sha == newest:
        with contextlib.suppress(RevisionNotFoundError):  # not converted
            commit = api.dataset_info(name, revision=CONVERTED).sha
            for path in sorted(system.glob(f"datasets/{name}@{commit}/**/*.parquet", refresh=True)):
                config, split = path.partition(f"@{commit}/")[2].split("/")[:2]
                converted.setdefault((config, split.removeprefix("partial-")), []).append(path)
    if converted:
        return Listing(converted, sha)
    root = f"datasets/{name}@{sha}/"
    found = grouped((path.removeprefix(root) for path in system.find(root, refresh=True)), sha)
    if found is None:
        raise BadData(
            f"{name} has no Parquet, CSV, JSON or text files, and the Hub has not converted it.",
            "Download one of its files and upload it here.",
        )
    return Listing({which: [root + path for path in paths] for which, paths in found.files.items()}, sha, found.raw)


def _counts(system: Any, paths: list[str], say: child.Say) -> tuple[tuple[int, ...], dict[bytes, bytes] | None]:
    """Rows of each file, read from the ends of the files, several at once; and the first one's schema metadata."""
    done = 0

    def footer(path: str) -> Any:
        nonlocal done
        with system.open(path, "rb", block_size=1 << 18) as file:
            metadata = pq.ParquetFile(file).metadata
        done += 1
        say(done, len(paths))
        return metadata

    with ThreadPoolExecutor(8) as pool:
        footers = list(pool.map(footer, paths))
    return tuple(f.num_rows for f in footers), footers[0].schema.to_arrow_schema().metadata
