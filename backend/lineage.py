"""What led to a run and what came of it: runs name one another as parents and in their params."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from backend.jobs import Run


def sources(run: Run) -> dict[str, str]:
    """The ids of the runs that `run` was made from, and why: `clone`, or the setting that names it (`run/ID`)."""
    named = {
        one.removeprefix("run/"): name
        for name, value in run.job.params.items()
        for one in (value if isinstance(value, list) else [value])
        if isinstance(one, str) and one.startswith("run/")
    }
    return ({run.parent: "clone"} if run.parent else {}) | named


def related(run: Run, runs: Iterable[Run]) -> list[tuple[Run, dict[str, str]]]:
    """`run`, its ancestors and its descendants among `runs`, oldest first, each with its sources among them."""
    known = {one.id: one for one in runs} | {run.id: run}
    made_from = {name: {one: why for one, why in sources(run).items() if one in known} for name, run in known.items()}
    made = {name: [one for one, its in made_from.items() if name in its] for name in known}
    found = _reached(run.id, lambda name: made_from[name]) | _reached(run.id, lambda name: made[name])
    kept = sorted((known[name] for name in found), key=lambda one: one.created)
    return [(one, {name: why for name, why in made_from[one.id].items() if name in found}) for one in kept]


def _reached(start: str, step: Callable[[str], Iterable[str]]) -> set[str]:
    found, new = {start}, [start]
    while new := [name for one in new for name in step(one) if name not in found]:
        found.update(new)
    return found
