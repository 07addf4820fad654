"""The plain Python that trains the same, with Hugging Face libraries alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from backend.errors import BadData, NotFound
from backend.recipes import data
from backend.recipes.params import TrainParams
from backend.starter import SAMPLES, locate

_DTYPES = {"auto": "bfloat16", "bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
_READERS = {".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".txt": "text"}
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


def code(
    recipe: str, params: TrainParams, model: str | None = None, dataset: str | None = None, precision: str = ""
) -> str:
    """The script for a run of `recipe` with `params`; executing it saves an adapter to the folder `adapter`.

    `model` and `dataset` are where these are (a folder, a file), when that differs from the names in `params`;
    `precision` is what the run found for itself, as Started tells it. Raises NotFound for a recipe without a script.
    """
    if recipe != "sft":
        raise NotFound(f"There is no script for {recipe!r}.", "Choose sft.", "recipe.unknown")
    place = dataset or (locate(params.dataset) if params.dataset in SAMPLES else params.dataset)
    dtype = _DTYPES[precision or params.precision]
    form = _format(place)
    held = params.eval_rows > 0
    gpu = "torch.cuda.is_available()"
    arguments: dict[str, str] = {
        "output_dir": '"checkpoints"',
        "learning_rate": f"{params.learning_rate:g}",
        "per_device_train_batch_size": str(params.per_device_train_batch_size),
        "gradient_accumulation_steps": str(params.gradient_accumulation_steps),
        "num_train_epochs": f"{params.num_train_epochs:g}",
        "max_steps": str(params.max_steps) if params.max_steps else "",
        "max_length": str(params.max_length),
        "warmup_steps": f"{params.warmup_steps:g}",
        "lr_scheduler_type": json.dumps(params.lr_scheduler_type),
        "weight_decay": f"{params.weight_decay:g}",
        "max_grad_norm": f"{params.max_grad_norm:g}",
        "assistant_only_loss": "can_mask(tokenizer)" if form == "messages" else "",
        "bf16": gpu if dtype == "bfloat16" else "False",
        "fp16": gpu if dtype == "float16" else "",
        "activation_checkpointing": {"auto": gpu, "on": "True", "off": "False"}[params.gradient_checkpointing],
        "logging_steps": str(params.logging_steps),
        "save_strategy": '"no"',
        "report_to": '"none"',
        "seed": str(params.seed),
    }
    listed = "\n".join(f"        {name}={value}," for name, value in arguments.items() if value)
    imports = "SFTConfig, SFTTrainer" + (", get_training_chat_template" if form == "messages" else "")
    return f"""import torch
from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import {imports}

MODEL = {_text(model or params.model)}

{_dataset(place, params)}
tokenizer = AutoTokenizer.from_pretrained(MODEL)
model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.{dtype})
{_CAN_MASK if form == "messages" else ""}
trainer = SFTTrainer(
    model=model,
    processing_class=tokenizer,
    train_dataset={'parts["train"]' if held else "dataset"},
{'    eval_dataset=parts["test"],' if held else "    eval_dataset=None,"}
    peft_config=LoraConfig(
        r={params.lora_r},
        lora_alpha={params.lora_alpha},
        lora_dropout={params.lora_dropout:g},
        target_modules={_targets(params.target_modules)},
        task_type="CAUSAL_LM",
    ),
    args=SFTConfig(
{listed}
    ),
)
trainer.train()
{"print(trainer.evaluate())" + chr(10) if held else ""}trainer.save_model("adapter")
"""


_CAN_MASK = '''

def can_mask(tokenizer):
    """Whether TRL knows which tokens of the chat template are the assistant's."""
    try:
        get_training_chat_template(tokenizer)
    except ValueError:
        return False
    return True

'''


def _dataset(place: str, params: TrainParams) -> str:
    ending = Path(place).suffix.lower()
    if data.is_local(place) or ending in data.ENDINGS:
        more = ', delimiter="\\t"' if ending == ".tsv" else ""
        reader = _READERS.get(ending, "json")
        lines = f'dataset = load_dataset("{reader}", data_files={_text(place)}{more}, split="train")\n'
        if ending == ".txt":
            lines += 'dataset = dataset.filter(lambda row: row["text"].strip())\n'
    else:
        lines = f"dataset = load_dataset({_text(place)}, split={_text(params.dataset_split)})\n"
    if params.max_rows:
        lines += f"dataset = dataset.select(range(min({params.max_rows}, len(dataset))))\n"
    lines += {"Alpaca": _ALPACA, "ShareGPT": _SHAREGPT}.get(_format(place, whole=True), "")
    if params.eval_rows:
        size = f"min({params.eval_rows}, len(dataset) // 2)"
        lines += f"parts = dataset.train_test_split(test_size={size}, seed={params.seed})\n"
    return lines


def _format(place: str, whole: bool = False) -> str:
    """What a file's first row tells; "messages" for everything that becomes that, unless `whole`."""
    if not data.is_local(place):
        return ""
    try:
        form = data.shape_of(place, ("prompt-completion", "language modelling"))
    except (BadData, NotFound):
        return ""
    return "messages" if "messages" in form.columns and not whole else form.name


def _targets(names: str) -> str:
    listed = [name.strip() for name in names.split(",") if name.strip()]
    return '"all-linear"' if listed in ([], ["all-linear"]) else json.dumps(listed)


def _text(value: Any) -> str:
    """A Python string literal in double quotes."""
    return json.dumps(str(value), ensure_ascii=False)
