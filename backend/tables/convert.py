"""A file of any kind, once, into Parquet: `python -m backend.tables.convert`, in a process with limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa

from backend.tables import archive, child
from backend.tables.readers import Given, sniff
from backend.tables.writing import in_place


def answer(request: dict[str, Any], say: child.Say) -> dict[str, Any]:
    """{path, name, out, in_place} → {file, kind, notes}: the Parquet file to read is `out`, or `path` itself."""
    out = Path(request["out"])
    given = Given(Path(request["path"]), request["name"], out.parent)
    kind = "folder" if given.path.is_dir() else sniff(given)
    if kind in ("folder", "zip"):
        kind = archive.convert(given, archive.listed(given), out, say)
    elif not (request["in_place"] and kind == "parquet" and _as_is(given.path)):
        archive.convert_table(given, kind, out, say)
    return {"file": str(out if out.exists() else given.path), "kind": kind, "notes": given.notes}


def _as_is(path: Path) -> bool:
    try:
        return in_place(path)
    except (pa.ArrowException, OSError):
        return False


if __name__ == "__main__":
    child.serve(answer)
