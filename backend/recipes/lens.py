"""What the loss sees: rows as the real trainer prepares and its real collator batches them, before anything is trained.

    echo '{"recipe": "sft", "params": {…}}' | python -m backend.recipes.lens

prints one JSON object, see `look`.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.errors import LabError
from backend.recipes import data, lengths, limits, loading, process
from backend.recipes.params import TrainParams, check

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

MEASURED = 2_000  # rows whose length is taken
SHOWN = 3  # rows that are drawn
TOKENS = 600  # of a row that are drawn
BARS = 24
_SIDES = ("chosen", "rejected")


def look(recipe: str, params: TrainParams, rows: int = SHOWN) -> dict[str, Any]:
    """{rows, lengths, long, note}, for the recipe of this name.

    Each of `rows` is a list of {name, pieces, tokens, trained}: one sequence, or the chosen and the rejected one;
    `pieces` are [text, whether it is trained on] token by token, `tokens` and `trained` how many there are. `lengths`
    is {width, counts, cut, over, measured, total, longest}: how many rows have up to width, 2·width … tokens, and how
    many of those measured are longer than `cut`, which is max_length. `long` is {rule, count, rows, known, problem}:
    how many of all are, the first of them by row of the file, of how many rows that is known, and what is said where
    they are to stop a run. Raises LabError.
    """
    from backend.recipes import METHODS

    method = METHODS[recipe]
    loaded = data.read(params, method.wants)
    part = loaded.dataset().shuffle(seed=params.seed).select(range(min(MEASURED, len(loaded.table))))
    tokenizer = loading.tokenizer(params.model)
    if loaded.shape.chat and not tokenizer.chat_template:
        raise limits.no_template(params.model)
    if loaded.shape.kind == "prompt-only":
        return _prompts(part, tokenizer, params, rows, len(loaded.table))
    make = import_module(method.module).trainer
    counted = lengths.sizes(make, params, loaded, part)
    long = lengths.overlong(make, params, loaded)
    found = long.found(loaded, params.max_length)
    stop = lengths.problem(found, params.dataset, loaded.report.rows) if found.count else None
    with tempfile.TemporaryDirectory() as scratch:
        few = part.select(range(min(len(part), 20 * rows)))
        trainer = lengths.stand_in(make, params, loaded, few, Path(scratch))
        batches = [
            trainer.data_collator([row])
            for row in trainer.train_dataset.select(range(min(rows, len(trainer.train_dataset))))
        ]
    return {
        "rows": [[_drawn(tokenizer, *sequence) for sequence in _sequences(batch)] for batch in batches],
        "lengths": _histogram(counted, params.max_length, len(loaded.table)),
        "long": found.plain() | {"known": long.known, "problem": _said(stop) if stop else None},
        "note": "The whole answer gets one score; no single token is trained on." if recipe == "reward" else "",
    }


def _said(error: LabError) -> dict[str, str]:
    return {"code": error.code, "message": error.message, "hint": error.hint}


def _sequences(batch: dict[str, Any]) -> Iterator[tuple[str, Sequence[int], Sequence[bool]]]:
    """(name, token ids, which of them are trained on) of a batch of one row, without padding."""
    if "chosen_input_ids" in batch:
        for side in _SIDES:
            ids, labels = batch[f"{side}_input_ids"][0], batch[f"{side}_labels"][0]
            kept = batch[f"{side}_attention_mask"][0].bool()
            yield side, ids[kept].tolist(), (labels[kept] != -100).tolist()
        return
    names = _SIDES if len(batch["input_ids"]) == 2 else ("",)
    for place, name in enumerate(names):
        ids = batch["input_ids"][place]
        kept = batch["attention_mask"][place].bool() if "attention_mask" in batch else ids == ids
        if "labels" in batch:
            learned = batch["labels"][place] != -100
        elif "completion_mask" in batch:
            learned = batch["completion_mask"][place].bool()
        else:
            learned = ids != ids
        yield name, ids[kept].tolist(), learned[kept].tolist()


def _drawn(
    tokenizer: PreTrainedTokenizerBase, name: str, ids: Sequence[int], learned: Sequence[bool]
) -> dict[str, Any]:
    """Letters of several tokens are drawn with the last of them."""
    pieces: list[tuple[str, bool]] = []
    said = ""
    for place in range(min(len(ids), TOKENS)):
        now = tokenizer.decode(ids[: place + 1], clean_up_tokenization_spaces=False)
        if now.endswith("�") and place + 1 < len(ids):
            pieces.append(("", learned[place]))
            continue
        pieces.append((now[len(said) :], learned[place]))
        said = now
    return {"name": name, "pieces": pieces, "tokens": len(ids), "trained": sum(learned)}


def _prompts(
    part: Dataset, tokenizer: PreTrainedTokenizerBase, params: TrainParams, rows: int, total: int
) -> dict[str, Any]:
    """Prompts as the model gets them; it writes the answers itself."""

    def ids(prompt: Any) -> list[int]:
        if isinstance(prompt, str):
            return list(tokenizer(prompt)["input_ids"])
        text = tokenizer.apply_chat_template(prompt, tokenize=False, add_generation_prompt=True)
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    every = [ids(prompt) for prompt in part["prompt"]]
    return {
        "rows": [[_drawn(tokenizer, "", one, [False] * len(one))] for one in every[:rows]],
        "lengths": _histogram([len(one) for one in every], 0, total),
        "long": {"rule": "", "count": 0, "rows": [], "known": total, "problem": None},
        "note": "The model writes the answers itself; every token that it writes is trained by its reward.",
    }


def _histogram(sizes: Sequence[int], cut: int, total: int) -> dict[str, Any]:
    """Bars of equal width from 0 to the longest; `cut` 0 cuts nothing."""
    longest = max([*sizes, 1])
    width = max(1, -(-longest // BARS))
    counts = [0] * (longest // width + 1)
    for size in sizes:
        counts[size // width] += 1
    return {
        "width": width,
        "counts": counts,
        "cut": cut,
        "over": sum(size > cut for size in sizes) if cut else 0,
        "measured": len(sizes),
        "total": total,
        "longest": max(sizes, default=0),
    }


def main() -> int:
    for name, value in process.ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from backend.recipes import METHODS

    asked = json.loads(sys.stdin.read())
    try:
        answer = look(asked["recipe"], check(METHODS[asked["recipe"]].params, asked["params"]))
    except LabError as error:
        answer = {"error": _said(error)}
    print(f"\n{json.dumps(answer)}", flush=True)
    return 0


if __name__ == "__main__":
    process.leave(main())
