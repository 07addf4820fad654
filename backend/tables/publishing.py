"""Parquet and a card onto the Hub, in one commit."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

from backend.errors import BadInput
from backend.tables import child
from backend.tables.shape import Step
from backend.tables.table import Table

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_NAME = re.compile(r"[A-Za-z0-9][\w.\-]{0,95}/[A-Za-z0-9][\w.\-]{0,95}", re.ASCII)
SIZES = (
    (1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"), (100_000_000, "10M<n<100M"), (1_000_000_000, "100M<n<1B"),
)  # fmt: skip


def check(repository: str) -> None:
    """Raises BadInput for what can't be a repository's name."""
    if not _NAME.fullmatch(repository):
        raise BadInput(
            f"{repository[:80]!r} is no name for a dataset on the Hub.",
            "Write it as owner/name, with letters, digits, dots, dashes and underscores.",
        )


def card(table: Table, repository: str, steps: Sequence[Step], code: str, licence: str = "") -> str:
    """A README: the settings that the Hub reads (those of files are added by `push`), origin, columns, the Python."""
    title = repository.rpartition("/")[2] or "dataset"
    size = next((name for most, name in SIZES if table.rows < most), "n>1B")
    settings = [f"license: {licence}"] if licence else []
    settings += ["size_categories:", f"- {size}", "tags:", "- atelier"]
    columns = "\n".join(f"| `{column.name}` | {column.type.lower()[:60]} |" for column in table.columns[:100])
    done = f", reshaped in {len(steps)} step{'s' if len(steps) > 1 else ''}" if steps else ""
    return "\n".join(
        [
            "---", *settings, "---", "", f"# {title}", "",
            f"Made from `{table.name}` ({table.rows:,} rows{done}).", "",
            "| column of the source | type |", "|---|---|", columns, "",
            "## How it was made", "", "```python", code.strip(), "```", "",
        ]
    )  # fmt: skip


def push(
    api: HfApi,
    token: str,
    repository: str,
    made: Mapping[str, Path],
    text: str,
    private: bool,
    say: child.Say = child.silent,
) -> str:
    """Create the repository where it isn't there, and commit; gives the address of the dataset's page.

    A repository that is there keeps its visibility and its other files. Errors are huggingface_hub's.
    """
    from huggingface_hub import CommitOperationAdd

    place = api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True, token=token)
    say(0, len(made) + 1)
    operations = []
    for done, (split, file) in enumerate(made.items(), 1):
        added = CommitOperationAdd(f"data/{split}-00000-of-00001.parquet", str(file))
        api.preupload_lfs_files(repository, [added], repo_type="dataset", token=token)
        operations.append(added)
        say(done, len(made) + 1)
    readme = io.BytesIO(described(text or "---\n---\n", made).encode())
    operations.append(CommitOperationAdd("README.md", readme))
    api.create_commit(repository, operations, commit_message="Upload dataset", repo_type="dataset", token=token)
    say(len(made) + 1, len(made) + 1)
    return str(place)


def described(text: str, made: Mapping[str, Path]) -> str:
    """The card with the settings that tell `load_dataset` which files are which split, and what the columns are."""
    settings, body = ("", text)
    if text.startswith("---"):
        settings, _, body = text.removeprefix("---").partition("\n---")
    lines = ["configs:", "- config_name: default", "  data_files:"]
    for split in made:
        lines += [f"  - split: {split}", f"    path: data/{split}-*"]
    kept = _without(settings.strip().splitlines(), "configs")
    rows = {split: pq.ParquetFile(file).metadata.num_rows for split, file in made.items()}
    told = f"<!-- rows: {json.dumps(rows)} -->"
    return "\n".join(["---", *kept, *lines, "---", body.lstrip("\n").rstrip(), "", told, ""])


def _without(lines: Sequence[str], key: str) -> list[str]:
    """YAML lines without the block of one top-level key."""
    kept: list[str] = []
    inside = False
    for line in lines:
        if re.match(r"[\w-]+:", line):
            inside = line.startswith(f"{key}:")
        if not inside:
            kept.append(line)
    return kept
