"""How many tokens the texts of a column have: `python -m backend.tables.tokens`, in a process with limits.

A tokenizer is a file of a stranger's, and texts can be chosen to be slow to cut, so neither is let into the server.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

from backend.errors import BadInput
from backend.tables import child
from backend.tables.stats import BARS, said
from backend.tables.table import ROW, Table, quoted

ROWS = 2_000  # looked at
LONGEST = 100_000  # characters of a text
LIMITS = child.Limits(seconds=60, memory=2 << 30, hint="Choose another tokenizer or a column of shorter texts.")


def lengths(table: Table, name: str, tokenizer: Path) -> dict[str, Any]:
    """{column, rows, nulls, histogram, min, max, mean, p95, of, partial} of the tokens in each of the first rows.

    Chats count the content of their messages, without what a template adds. Raises BadInput, NotFound.
    """
    picked = table.column(name)
    if picked.kind not in ("text", "chat", "nested"):
        raise BadInput(f"{name!r} holds {picked.type[:60]}; tokens are counted in text.", "Choose a column with text.")
    text = quoted(name)
    if picked.kind == "chat":
        text = f"array_to_string(list_transform({text}, lambda x: x.content), chr(10))"
    elif picked.kind == "nested":
        text = f"CAST(to_json({text}) AS VARCHAR)"
    source, rows = table.part(ROWS)
    texts = [row[0] for row in table.database.ask(f"SELECT left({text}, {LONGEST}) FROM {source} ORDER BY {ROW}")]
    there = [text for text in texts if text is not None]
    request = {"tokenizer": str(tokenizer), "texts": there}
    counts = sorted(child.run("backend.tables.tokens", request, LIMITS)) if there else []
    told = {"column": name, "kind": "number", "rows": rows, "nulls": len(texts) - len(there), "of": "tokens"}
    return told | spread(counts) | {"partial": said(table, rows)}


def spread(counts: list[int]) -> dict[str, Any]:
    """{histogram, min, max, mean, p95} of sorted counts; the histogram alone, empty, of none."""
    if not counts:
        return {"histogram": []}
    low, high = counts[0], counts[-1]
    step = max(1, math.ceil((high + 1 - low) / BARS))
    bars = Counter((count - low) // step for count in counts)
    return {
        "min": low,
        "max": high,
        "mean": sum(counts) / len(counts),
        "p95": counts[min(len(counts) - 1, int(len(counts) * 0.95))],
        "histogram": [
            {"from": low + i * step, "to": low + (i + 1) * step, "count": bars.get(i, 0)} for i in range(max(bars) + 1)
        ],
    }


# -- the child's side -------------------------------------------------------------------------------------------


def answer(request: dict[str, Any], say: child.Say) -> list[int]:
    """{tokenizer, texts} → the tokens of each. Raises BadInput."""
    from tokenizers import Tokenizer

    try:
        cut = Tokenizer.from_file(request["tokenizer"])
    except Exception as error:  # tokenizers raises bare Exceptions
        raise BadInput(f"The tokenizer can't be read: {str(error)[:200]}", "Choose another model.") from error
    cut.no_padding()
    cut.no_truncation()
    return [len(one.ids) for one in cut.encode_batch(request["texts"], add_special_tokens=False)]


if __name__ == "__main__":
    child.serve(answer)
