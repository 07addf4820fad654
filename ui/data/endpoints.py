"""/rows, /stats and /sql: what a program asks of a dataset."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from backend.data import Source
from backend.lab import Lab
from ui.visitor import owner, token

PLACE = """
            dataset: sample/NAME, upload/…, run/ID or a Hub id; empty for a sample
            config: of a Hub dataset; empty for its default
            split: of a Hub dataset; empty for train, or the first
            revision: a branch, tag or commit of a Hub dataset; empty for its newest
"""


def made(lab: Lab) -> tuple[Callable[..., Any], ...]:
    """The endpoints; each says in its description what PLACE says."""

    def rows(
        dataset: str = "",
        config: str = "",
        split: str = "",
        offset: int = 0,
        length: int = 50,
        revision: str = "",
        request: gr.Request = None,  # type: ignore[assignment]
    ) -> dict[str, Any]:
        """A page of a dataset: {columns, rows, total, partial}; `partial` says what part is read, '' for the whole.

        Parameters:
            offset: the number of the first row, from 0
            length: how many rows, at most 100"""
        page = lab.data.rows(_source(dataset, config, split, revision, request), offset, length)
        return {key: page[key] for key in ("columns", "rows", "total", "partial")}

    def stats(
        dataset: str = "",
        config: str = "",
        split: str = "",
        column: str = "",
        revision: str = "",
        request: gr.Request = None,  # type: ignore[assignment]
    ) -> dict[str, Any]:
        """Figures of a column: histogram or top values, nulls, min, max; `partial` says of which part of the rows.

        Parameters:
            column: its name"""
        return lab.data.stats(_source(dataset, config, split, revision, request), column)

    def sql(
        dataset: str = "",
        config: str = "",
        split: str = "",
        query: str = "",
        revision: str = "",
        request: gr.Request = None,  # type: ignore[assignment]
    ) -> dict[str, Any]:
        """One SELECT (DuckDB) over the split, which is the table `data`: {columns, rows, truncated, seconds}.

        Parameters:
            query: for example SELECT count(*) FROM data"""
        return lab.data.sql(_source(dataset, config, split, revision, request), query)

    for endpoint in (rows, stats, sql):
        endpoint.__doc__ = (endpoint.__doc__ or "") + PLACE
    return rows, stats, sql


def _source(dataset: str, config: str, split: str, revision: str, request: gr.Request) -> Source:
    return Source(dataset, owner(request), config, split, revision, token(request))
