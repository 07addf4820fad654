"""What to read about what is on screen: a course chapter, a page of the documentation, a paper. The list is data."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

LIST = Path(__file__).with_name("learn.json")
KINDS = ("course", "docs", "paper")


@cache
def learn() -> list[dict[str, Any]]:
    """[{topic, tab, items: [{kind, title, url}]}] in the order of the loop; `kind` is one of KINDS."""
    found: list[dict[str, Any]] = json.loads(LIST.read_text())
    return found
