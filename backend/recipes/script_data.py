"""The part of a script that brings training data into TRL's form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from backend.recipes import data
from backend.recipes.params import TrainParams
from backend.recipes.part import Part

_READERS = {".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".txt": "text", ".arrow": "arrow"}


def code(place: str, params: TrainParams, shape: data.Shape | None) -> str:
    """Reads the dataset at `place`, a file or a Hub id, of the given shape; splits it as the run does."""
    ending = Path(place).suffix.lower()
    if data.is_local(place) or ending in data.ENDINGS:
        more = ', delimiter="\\t"' if ending == ".tsv" else ""
        reader = _READERS.get(ending, "json")
        lines = f'dataset = load_dataset("{reader}", data_files={_text(place)}{more}, split="train")\n'
        if ending == ".txt":
            lines += 'dataset = dataset.filter(lambda row: row["text"].strip())\n'
    else:
        lines = f"dataset = {Part.read(place).loading(params.dataset_split)}\n"
    if params.bad_rows == "drop":
        lines += "# The run leaves out rows in which something is wrong; here they have to be taken out before.\n"
    if params.long_rows == "drop":
        lines += f"# The run leaves out rows longer than {params.max_length} tokens; here they are cut off.\n"
    renamed = {column: role for role, column in params.columns.items() if column and column != role}
    if renamed:
        lines += f"dataset = dataset.rename_columns({json.dumps(renamed, ensure_ascii=False)})\n"
    if params.max_rows and params.pick_rows == "first":
        lines += f"dataset = dataset.select(range(min({params.max_rows}, len(dataset))))\n"
    lines += _converted(shape) if shape else ""
    if params.same_rows == "drop" and shape:
        lines += _ONCE.replace("COLUMNS", json.dumps(list(shape.columns)))
    if params.max_rows and params.pick_rows == "random":
        lines = f"import random\n\n{lines}"
        lines += (
            f"picked = random.Random({params.seed}).sample(range(len(dataset)), min({params.max_rows}, len(dataset)))\n"
        )
        lines += "dataset = dataset.select(sorted(picked))\n"
    if params.eval_rows:
        many = f"int({params.eval_rows:g} * len(dataset))" if params.eval_rows < 1 else f"{params.eval_rows:g}"
        size = f"min({many}, len(dataset) // 2)"
        lines += f"parts = dataset.train_test_split(test_size={size}, seed={params.seed})\n"
    return lines


def _converted(shape: data.Shape) -> str:
    """Other ways to write data, and other kinds than the method wants."""
    if shape.name.startswith("Alpaca") and shape.kind == "prompt-completion":
        return _ALPACA
    if shape.name.startswith("ShareGPT") and shape.kind == "language modelling":
        return _SHAREGPT
    if shape.kind == shape.given:
        return ""
    if shape.kind == "unpaired":
        return _UNPAIRED
    answer = {"preference": 'row["chosen"]', "prompt-completion": 'row["completion"]'}.get(shape.given)
    if answer is None:
        return _ASKED_LAST
    return _ASKED.replace("ANSWER", f'{answer}[-1]["content"]' if shape.chat else answer)


def _text(value: Any) -> str:
    """A Python string literal in double quotes."""
    return json.dumps(str(value), ensure_ascii=False)


_ONCE = """
seen = set()


def is_new(row):
    before = len(seen)
    seen.add(str([row[name] for name in COLUMNS]))
    return len(seen) > before


dataset = dataset.filter(is_new)
"""
_ALPACA = """

def as_chat(row):
    question = "\\n\\n".join(part for part in (row["instruction"], row.get("input")) if part)
    return {
        "prompt": [{"role": "user", "content": question}],
        "completion": [{"role": "assistant", "content": row["output"]}],
    }


dataset = dataset.map(as_chat, remove_columns=dataset.column_names)
"""
_SHAREGPT = f"""
ROLES = {json.dumps(data.ROLES)}


def as_messages(row):
    return {{"messages": [{{"role": ROLES[part["from"]], "content": part["value"]}} for part in row["conversations"]]}}


dataset = dataset.map(as_messages, remove_columns=dataset.column_names)
"""
_UNPAIRED = """

def as_unpaired(rows):
    pairs = list(zip(rows["prompt"], rows["chosen"], rows["rejected"]))
    return {
        "prompt": [prompt for prompt, _, _ in pairs for _ in range(2)],
        "completion": [answer for _, chosen, rejected in pairs for answer in (chosen, rejected)],
        "label": [True, False] * len(pairs),
    }


dataset = dataset.map(as_unpaired, batched=True, remove_columns=dataset.column_names)
"""
_ASKED = """

def as_prompt(row):
    return {"prompt": row["prompt"], "reference": ANSWER}


dataset = dataset.map(as_prompt, remove_columns=dataset.column_names)
"""
_ASKED_LAST = """

def as_prompt(row):
    last = max(place for place, message in enumerate(row["messages"]) if message["role"] == "assistant")
    return {"prompt": row["messages"][:last], "reference": row["messages"][last]["content"]}


dataset = dataset.map(as_prompt, remove_columns=dataset.column_names)
"""
