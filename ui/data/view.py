"""The view: what is shown of a dataset, as a small dict; the address says the same. Pure.

Keys: dataset, config, split, revision, q (search), within (columns searched; none are all), filters, sort (columns in
order of weight), page, columns (shown; none are all), whole (figures of all rows).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from ui.toasts import as_json

LENGTH = 25  # rows of a page
ADDRESS = 1_500  # characters of a condition that a link carries
SORTS = 4  # columns sorted by at once
View = Mapping[str, Any]
NAMES = ("dataset", "config", "split", "revision", "q")  # of the keys, what is one text

START: dict[str, Any] = {
    "dataset": "", "config": "", "split": "", "revision": "", "q": "", "within": [], "filters": [], "sort": [],
    "page": 0, "columns": [], "whole": False,
}  # fmt: skip


def address(view: View, condition: str) -> str:
    """The part of a link behind the question mark; what is as it opens is left out."""
    parts = {"tab": "data"} | {key: view[key] for key in NAMES if view[key]}
    if condition and len(condition) <= ADDRESS:
        parts["where"] = condition
    if view["sort"]:
        names = [signed(one) for one in view["sort"]]
        odd = any("," in name or name.startswith("[") for name in names)
        parts["sort"] = json.dumps(names, ensure_ascii=False) if odd else ",".join(names)
    if view["page"]:
        parts["p"] = view["page"] + 1  # Gradio takes `page` for itself
    for key in ("columns", "within"):
        if view[key]:
            parts[key] = json.dumps(view[key], ensure_ascii=False)
    return urlencode(parts)


def asked(query: Mapping[str, str]) -> dict[str, Any]:
    """The view that an address names, its filters left out. Raises BadInput."""
    view = START | {key: str(query.get(key, ""))[:300] for key in NAMES}
    if sort := str(query.get("sort", "")):
        names = as_json(sort, "sort") if sort.startswith("[") else sort.split(",")
        view["sort"] = [unsigned(str(one)) for one in names[:SORTS]]
    if (page := str(query.get("p", ""))).isdigit():
        view["page"] = max(0, int(page) - 1)
    for key in ("columns", "within"):
        if names := str(query.get(key, "")):
            view[key] = [str(one) for one in as_json(names, key)]
    return view


def signed(sort: Mapping[str, Any]) -> str:
    """`-name` for a column from high to low."""
    return ("-" if sort["descending"] else "") + str(sort["column"])


def unsigned(name: str) -> dict[str, Any]:
    """What `signed` says."""
    return {"column": name.removeprefix("-"), "descending": name.startswith("-")}


def acted(view: View, pressed: Mapping[str, Any]) -> dict[str, Any] | None:
    """The view after something was pressed; None for what is no matter of the view."""
    match pressed.get("act"):
        case "sort":
            return {**view, "sort": _sorted(view, str(pressed["column"]), bool(pressed.get("more"))), "page": 0}
        case "filter":
            more = [one for one in as_json(pressed["filters"], "The filter") if one not in view["filters"]]
            return {**view, "filters": [*view["filters"], *more], "page": 0}
        case "drop":
            return _dropped(view, str(pressed["what"]))
        case "page":
            return {**view, "page": max(0, int(pressed["page"]))}
        case "jump" if str(pressed["row"]).isdigit():
            return {**view, "page": int(pressed["row"]) // LENGTH}
    return None


def _sorted(view: View, column: str, more: bool) -> list[dict[str, Any]]:
    """One more press: up, down, as in the file; with `more` the other columns stay in front."""
    mine = next((one for one in view["sort"] if one["column"] == column), None)
    now = [] if mine and mine["descending"] else [{"column": column, "descending": bool(mine)}]
    if not more:
        return now
    if mine:
        place = view["sort"].index(mine)
        return [*view["sort"][:place], *now, *view["sort"][place + 1 :]]
    return [*view["sort"], *now][-SORTS:]


def _dropped(view: View, what: str) -> dict[str, Any]:
    changes: dict[str, Any] = {"page": 0}
    if what in ("all", "search"):
        changes["q"] = ""
    if what in ("all", "sort"):
        changes["sort"] = []
    if what == "all":
        changes["filters"] = []
    if what.startswith("drop-"):
        changes["filters"] = [one for i, one in enumerate(view["filters"]) if what != f"drop-{i}"]
    return {**view, **changes}
