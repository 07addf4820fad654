"""What a run will take, before it runs: memory, time, disk; a plain verdict, and settings that would help.

By formula it is known in a moment (see `memory`); a dry run of three steps measures it.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.recipes import data, memory, together
from backend.recipes.params import TrainParams
from backend.recipes.reading import Wrong, rows_of

_LOOKED_AT = 400  # rows whose length is measured
_TEMPLATE = 30  # tokens that a chat template adds to a row, about
_CHARACTERS = 3.5  # to a token, where no tokenizer is at hand
_TIGHT = 0.85  # of the free memory: beyond, other programs get in the way
_CHECKPOINTS = 3  # on the disk at the worst moment


@dataclass(frozen=True)
class Place:
    """Where a run would go: bytes of memory and disk that are free, and bytes of a weight's number there.

    `processes` can share its work there; memory is what each of them has.
    """

    memory: int
    disk: int
    number: int
    gpu: bool = False
    processes: int = 1


def estimate(
    recipe: str,
    params: TrainParams,
    wants: Sequence[data.Kind],
    folder: Path | None,
    place: Place,
    pace: float | None = None,
    measured: int = 0,
) -> dict[str, Any]:
    """{memory, time, disk, verdict, fixes}, plain values; see `Lab.preflight`.

    `folder` is the model's on this disk, if it is there. `pace` is seconds a step took in an earlier run like this;
    `measured` bytes are what a dry run took, and count more than the formula.
    """
    tokens, learned = lengths(recipe, params, folder)
    needed = (
        memory.estimate(recipe, params, folder, tokens, learned, _number(params, place), place.gpu) if folder else None
    )
    total = measured or (needed.total if needed else 0)
    steps = _steps(recipe, params, wants, place.processes if recipe in together.TOGETHER else 1)
    disk = _disk(params, needed) if needed else 0
    fixes = _fixes(recipe, params, folder, place, (tokens, learned)) if folder and total > place.memory * _TIGHT else []
    return {
        "memory": {
            "needed": total,
            "free": place.memory,
            "measured": bool(measured),
            "parts": needed.plain() if needed else {},
        },
        "time": {"steps": steps, "seconds_per_step": pace, "seconds": steps * pace if pace and steps else None},
        "disk": {"needed": disk, "free": place.disk},
        "verdict": verdict(total, disk, place, bool(measured)),
        "fixes": fixes,
    }


def lengths(recipe: str, params: TrainParams, folder: Path | None) -> tuple[int, int]:
    """Tokens of the longest row, and those of them that are learned; of the first rows, cut off where the run cuts."""
    rows = (row for row in rows_of(params.dataset, params.dataset_split, streaming=True) if not isinstance(row, Wrong))
    counter = _counter(folder)
    longest, learned = 0, 0
    for row in itertools.islice(rows, _LOOKED_AT):
        sizes = {name: counter(_text(value)) for name, value in row.items()}
        answers = [sizes.get(name, 0) for name in ("completion", "chosen", "rejected", "output")]
        asked = [sizes.get(name, 0) for name in ("prompt", "instruction", "input")]
        whole = max(sizes.get("text", 0), sizes.get("messages", 0), sizes.get("conversations", 0))
        size = max(whole, sum(asked) + max(answers))
        longest = max(longest, size)
        learned = max(learned, whole or max(answers) + 2)
    longest += _TEMPLATE
    if recipe in ("grpo", "rloo", "ppo"):
        learned = getattr(params, "max_completion_length", 0)
        return longest + learned, learned
    return min(longest, params.max_length), min(learned, params.max_length)


def _counter(folder: Path | None) -> Any:
    """A function that counts the tokens of a text."""
    if folder and (folder / "tokenizer.json").is_file():
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)
    return lambda text: math.ceil(len(text) / _CHARACTERS)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(str(part.get("content") or part.get("value")) for part in value if isinstance(part, dict))
    return json.dumps(value, default=str)


def _number(params: TrainParams, place: Place) -> int:
    """Bytes of a weight's number; weights that are trained are kept in fp32."""
    if params.adapter == "full":
        return 4
    return {"fp32": 4, "bf16": 2, "fp16": 2}.get(params.precision, place.number)


def _steps(recipe: str, params: TrainParams, wants: Sequence[data.Kind], processes: int) -> int:
    """Steps of the run, each of a batch for each of the `processes`; 0 when the number of rows isn't known."""
    if params.max_steps:
        return params.max_steps
    look = data.look(params.dataset, wants, 1, params.columns, data.rules(params))
    total = int(look["learned"] or 0)
    if not total:
        return 0
    each = total // look["kept"] if params.pick_rows == "first" else 1  # a sample is of what rows become
    total = min(total, params.max_rows * each or total)
    held = min(int(params.eval_rows if params.eval_rows >= 1 else params.eval_rows * total), total // 2)
    rows = (total - held) * getattr(params, "num_generations", 1)
    size = params.per_device_train_batch_size * params.gradient_accumulation_steps * processes
    return math.ceil(math.ceil(rows / size) * params.num_train_epochs)


def _disk(params: TrainParams, needed: memory.Memory) -> int:
    """Checkpoints hold what is trained and the optimizer's moments; at the end comes what is kept."""
    return needed.trained * (12 * _CHECKPOINTS + 4) + 20_000_000


def verdict(total: int, disk: int, place: Place, measured: bool) -> dict[str, str]:
    """{level: ok, tight, no or unknown; text}."""
    if not total:
        return {"level": "unknown", "text": "How much it needs is known once the model is here; a dry run tells."}
    how = "took" if measured else "needs about"
    sizes = f"It {how} {_size(total)} of memory, and {_size(place.memory)} are free"
    if total > place.memory:
        return {"level": "no", "text": f"{sizes}: it will not fit."}
    if disk > place.disk:
        return {
            "level": "no",
            "text": f"It needs about {_size(disk)} of disk, and {_size(place.disk)} are free: it will not fit.",
        }
    if total > place.memory * _TIGHT:
        return {"level": "tight", "text": f"{sizes}: it is tight."}
    return {"level": "ok", "text": f"{sizes}: it fits."}


def _fixes(recipe: str, params: TrainParams, folder: Path, place: Place, rows: tuple[int, int]) -> list[dict[str, Any]]:
    """Settings that would make it fit or come nearer, the mildest first: {title, set, needed}."""
    found = []
    before = memory.estimate(recipe, params, folder, *rows, _number(params, place), place.gpu)
    for title, change in _ideas(params, rows[0]):
        other = params.model_copy(update=change)
        needed = memory.estimate(recipe, other, folder, *rows, _number(other, place), place.gpu)
        if needed and before and needed.total < 0.97 * before.total:
            found.append({"title": title, "set": dict(change), "needed": needed.total})
    return found


def _ideas(params: TrainParams, tokens: int) -> list[tuple[str, Mapping[str, Any]]]:
    ideas: list[tuple[str, Mapping[str, Any]]] = []
    batch, groups = params.per_device_train_batch_size, getattr(params, "num_generations", 1)
    smaller = max(groups, batch // 2 // groups * groups)
    if smaller < batch and batch % smaller == 0:
        more = params.gradient_accumulation_steps * (batch // smaller)
        change = {"per_device_train_batch_size": smaller, "gradient_accumulation_steps": more}
        ideas.append((f"Batches of {smaller}, {more} to a step: the same result", change))
    if params.gradient_checkpointing != "on" and params.adapter != "prefix_tuning":
        ideas.append(("Gradient checkpointing: slower, the same result", {"gradient_checkpointing": "on"}))
    if params.adapter == "lora":
        ideas.append(("The base in 4 bits (QLoRA)", {"adapter": "qlora"}))
    if params.adapter == "full":
        ideas.append(("An adapter (LoRA) in place of all weights", {"adapter": "lora", "learning_rate": None}))
    if tokens > 32:
        ideas.append((f"Rows cut off at {tokens // 2} tokens", {"max_length": tokens // 2}))
    return ideas


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
