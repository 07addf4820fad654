"""A Hub dataset's split, read where it is: the Parquet that the Hub converted, or the repository's own.

A page reads the bytes of its own row groups through `hf://`. What needs every row (figures, search, SQL, quality)
works on a part brought near with `Tables.nearby`, and says so. The visitor's token opens private and gated ones; it
lives in the filesystem object and nowhere else.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from backend.errors import BadData, NotFound
from backend.recipes.loading import hub_errors
from backend.tables import child
from backend.tables.table import Database, Table, described

if TYPE_CHECKING:
    from huggingface_hub import HfFileSystem

    from backend.tables.sources import Tables

CONVERTED = "refs/convert/parquet"
FILES = 400  # Parquet files of one split that are opened
NEAR = 512 << 20  # bytes of them that are brought here
_SPLIT = re.compile(r"(?:^|/)([a-z_]+)(?:-\d{5}-of-\d{5}|/\d+)?\.parquet$")


def splits(name: str, revision: str = "", token: str | None = None) -> dict[str, list[str]]:
    """{config: [split]} of a Hub dataset. Raises NotFound, Gated, HubError, BadData."""
    found: dict[str, list[str]] = {}
    with hub_errors(name):
        for config, split in _files(_filesystem(token), name, revision)[0]:
            if split not in found.setdefault(config, []):
                found[config].append(split)
    return found


def open_split(
    tables: Tables,
    name: str,
    config: str,
    split: str,
    revision: str,
    token: str | None,
    say: child.Say,
) -> Table:
    """An empty config is `default` or the only one, an empty split `train` or the first."""
    with hub_errors(name):
        system = _filesystem(token)
        files, sha = _files(system, name, revision)
        configs = list(dict.fromkeys(config for config, _ in files))
        config = config or ("default" if "default" in configs else configs[0])
        in_config = [split for c, split in files if c == config]
        split = split or ("train" if "train" in in_config else (in_config or [""])[0])
        if (config, split) not in files:
            raise NotFound(
                f"{name} has no split {split!r} of {config!r}.",
                f"Choose one of {', '.join(f'{c}/{s}' for c, s in files)[:300]}.",
                "data.unknown",
            )
        paths = files[config, split]
        partial = "the first 5 GB, as converted by the Hub" if any("/partial-" in path for path in paths) else ""
        if len(paths) > FILES:
            paths, partial = paths[:FILES], f"the first {FILES} of {len(paths):,} files"
        counts, metadata = _counts(system, paths, say)
    database = Database(filesystem=system)
    urls = tuple(f"hf://{path}" for path in paths)
    folder = tables.folder / hashlib.sha256(f"{name} {config} {split} {sha}".encode()).hexdigest()[:24]
    which = [json.dumps(part, ensure_ascii=False) for part in ((name,) if config == "default" else (name, config))]
    return Table(
        name=name,
        files=urls,
        counts=counts,
        columns=described(database, urls[0], metadata),
        folder=folder,
        database=database,
        partial=partial,
        load=f'load_dataset({", ".join(which)}, split={json.dumps(split, ensure_ascii=False)}, revision="{sha}")',
        remote=True,
    )


def near(tables: Tables, table: Table, say: child.Say, most: int = NEAR) -> Table:
    """The first files of a remote table on this machine, at least one and at most `most` bytes, as a local Table."""
    system = table.database.filesystem
    kept: list[Path] = []
    size = 0
    with hub_errors(table.name):
        for number, url in enumerate(table.files):
            size += int(system.size(url))
            if kept and size > most:
                break
            file = table.folder / f"{number:05d}.parquet"
            if not file.exists():
                table.folder.mkdir(parents=True, exist_ok=True)
                new = file.with_suffix(".new")
                system.get_file(url, str(new))
                new.replace(file)
            kept.append(file)
            say(len(kept), len(table.files))
    partial = table.partial
    if len(kept) < len(table.files):
        rows = sum(table.counts[: len(kept)])
        partial = f"the first {rows:,} of {table.rows:,} rows"
    return tables.table(table.name, kept, table.folder, partial=partial, load=table.load)


def _filesystem(token: str | None, endpoint: str | None = None) -> HfFileSystem:
    """`False` asks without a token: a server's own sign-in is not lent to visitors."""
    from huggingface_hub import HfFileSystem

    class Pinned(HfFileSystem):
        """Every path names a commit, so nothing in it changes; DuckDB asks when a file was modified."""

        def modified(self, path: str, **kwargs: Any) -> datetime:
            return datetime(2000, 1, 1, tzinfo=UTC)

    return Pinned(endpoint=endpoint, token=token or False, skip_instance_cache=True)


def _files(system: Any, name: str, revision: str) -> tuple[dict[tuple[str, str], list[str]], str]:
    """{(config, split): paths} and the commit. Converted files are of the main branch only."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    api = system._api
    found: dict[tuple[str, str], list[str]] = {}
    try:
        sha = str(api.dataset_info(name, revision=revision or None).sha)
        newest = sha if not revision else str(api.dataset_info(name).sha)
    except GatedRepoError:
        raise
    except RepositoryNotFoundError as error:
        raise NotFound(
            f"The Hub has no dataset {name!r}, or it is private.",
            "Check the spelling; sign in for a private one.",
            "hub.unknown",
        ) from error
    if sha == newest:
        with contextlib.suppress(RevisionNotFoundError):  # not converted
            commit = api.dataset_info(name, revision=CONVERTED).sha
            for path in sorted(system.glob(f"datasets/{name}@{commit}/**/*.parquet", refresh=True)):
                config, split = path.partition(f"@{commit}/")[2].split("/")[:2]
                found.setdefault((config, split.removeprefix("partial-")), []).append(path)
    if not found:
        for path in sorted(system.glob(f"datasets/{name}@{sha}/**/*.parquet", refresh=True)):
            match = _SPLIT.search(path)
            found.setdefault(("default", match[1] if match else "train"), []).append(path)
    if not found:
        raise BadData(
            f"{name} has no Parquet files, and the Hub has not converted it.",
            "Download one of its files and upload it here.",
        )
    return found, sha


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
