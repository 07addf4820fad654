"""How long rows are in tokens, as the real trainer prepares them, and which are longer than `max_length`.

A tiny stand-in takes the model's place, for neither the tokens nor what is trained of them depend on its weights.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backend.errors import BadData
from backend.recipes import adapters, data, device, loading, training
from backend.recipes.checking import Finding
from backend.recipes.params import TrainParams

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Make = Callable[[Any], Any]  # a method's `trainer`
MOST = 50_000  # rows that are prepared to see whether they are too long: half a minute
_SIDES = ("chosen", "rejected")


@dataclass(frozen=True)
class Long:
    """Rows longer than `max_length`: their places in the table, and of how many rows that is known."""

    places: list[int]
    known: int

    def found(self, loaded: data.Loaded, most: int) -> Finding:
        """The same by row of the file."""
        finding = Finding(f"longer than {most:,} tokens")
        for number in dict.fromkeys(loaded.numbers[place] for place in self.places):
            finding.add(number)
        return finding


def overlong(make: Make, params: TrainParams, loaded: data.Loaded) -> Long:
    """Looks at every row that may be too long, the longest first; a token takes a byte at least."""
    tokenizer = loading.tokenizer(params.model)
    asked = [{"role": "user", "content": "a"}]
    frame = len(tokenizer.apply_chat_template(asked, tokenize=True)["input_ids"]) if loaded.shape.chat else 2
    bytes_of = list(_bytes(loaded))
    may = [place for place, many in enumerate(bytes_of) if many + frame > params.max_length]
    may = sorted(sorted(may, key=lambda place: -bytes_of[place])[:MOST])
    if not may:
        return Long([], len(bytes_of))
    counted = sizes(make, params, loaded, loaded.dataset().select(may))
    known = len(bytes_of) if len(may) < MOST else len(may)
    return Long([place for place, many in zip(may, counted, strict=True) if many > params.max_length], known)


def without(make: Make, params: TrainParams, loaded: data.Loaded) -> data.Loaded:
    """What is learned from where rows that are too long are to be left out, which is noted. Raises BadData."""
    long = overlong(make, params, loaded)
    if not long.places:
        return loaded
    finding, name = long.found(loaded, params.max_length), data.short_name(params.dataset)
    if params.long_rows == "stop":
        raise problem(finding, params.dataset, loaded.report.rows)
    over = set(long.places)
    rest = loaded.take([place for place in range(len(loaded.numbers)) if place not in over])
    if len(rest.numbers) < 2:
        raise BadData(f"All but {len(rest.numbers)} rows of {name} are {finding.rule}.", "Use a larger max_length.")
    loaded.report.wrong[finding.rule] = finding
    return rest


def problem(finding: Finding, name: str, rows: int) -> BadData:
    """That rows are too long, where they are to stop what would start; `rows` were read."""
    many = f" {finding.count:,} of {rows:,} rows are." if finding.count > 1 else ""
    return BadData(
        f"Row {finding.rows[0]} of {data.short_name(name)} is {finding.rule}.{many}",
        "Use a larger max_length, or set long_rows to cut or to drop.",
        "data.long",
    )


def sizes(make: Make, params: TrainParams, loaded: data.Loaded, rows: Dataset) -> list[int]:
    """Tokens of each row, none cut off; of its longer side where it has two."""
    uncut = params.model_copy(update={"max_length": max(params.max_length, 1 << 20)})
    with tempfile.TemporaryDirectory() as scratch:
        return [_length(row) for row in stand_in(make, uncut, loaded, rows, Path(scratch)).train_dataset]


def stand_in(make: Make, params: TrainParams, loaded: data.Loaded, rows: Dataset, scratch: Path) -> Any:
    """The method's own trainer over a stand-in for the model."""
    plain = {"adapter": "lora", "gradient_checkpointing": "off", "start_from": "", "init_lora_weights": "default"}
    params = params.model_copy(update=plain | {"target_modules": "all-linear", "use_dora": False})
    tokenizer = loading.tokenizer(params.model)
    task = adapters.SCORES if "reward" in make.__module__ else adapters.WRITES
    parts = {
        "model": _model(tokenizer, task == adapters.SCORES),
        "train_dataset": rows,
        "eval_dataset": None,
        "processing_class": tokenizer,
        "peft_config": adapters.config("lora", params, task),
    }
    here = device.choose(device.Machine(), "fp32", "off")
    options = training.arguments(params, here, scratch)
    return make(training.Work(params, here, loaded.shape, tokenizer, options, parts))


def _model(tokenizer: PreTrainedTokenizerBase, scores: bool) -> PreTrainedModel:
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        pad_token_id=tokenizer.pad_token_id,
        num_labels=1,
    )
    made: PreTrainedModel = (LlamaForSequenceClassification if scores else LlamaForCausalLM)(config)
    return made


def _bytes(loaded: data.Loaded) -> Iterator[int]:
    """Of each row, as much as its tokens can be."""
    for batch in loaded.table.to_batches(4096):
        for row in batch.to_pylist():
            yield len(str(row).encode())


def _length(row: dict[str, Any]) -> int:
    if "input_ids" in row:
        return len(row["input_ids"])
    begun = len(row.get("prompt_ids") or row.get("prompt_input_ids") or ())
    sides = [
        len(row[f"{side}{end}"])
        for side in (*_SIDES, "completion")
        for end in ("_ids", "_input_ids")
        if f"{side}{end}" in row
    ]
    return max(sides, default=0) + (0 if "chosen_labels" in row else begun)
