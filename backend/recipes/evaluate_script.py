"""The plain Python that asks the same questions and counts exact answers, with Hugging Face libraries alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from backend.recipes.evaluate import EvaluateParams
from backend.recipes.part import Part
from backend.recipes.provider import NAME as PROVIDER
from backend.recipes.reading import ENDINGS, is_local

_READERS = {".csv": "csv", ".tsv": "csv", ".parquet": "parquet"}
_ON_THE_HUB = {"bleu": "sacrebleu", "chrf": "chrf", "ter": "ter", "rouge": "rouge", "meteor": "meteor", "f1": "f1",
               "accuracy": "accuracy", "mcc": "matthews_correlation"}  # fmt: skip


_CLIENT = """from huggingface_hub import InferenceClient
"""
_ASKED = """    if ":" in model:  # at a provider, asked with the token of `hf auth login`, or of HF_TOKEN
        client = InferenceClient(provider="auto")
        for row in rows:
            asked = row["prompt"] if isinstance(row["prompt"], list) else [{{"role": "user", "content": row["prompt"]}}]
            made = client.chat_completion(asked, model=model, max_tokens={longest}, temperature={temperature})
            yield made.choices[0].message.content
        return
"""


def code(params: EvaluateParams, models: Sequence[tuple[str, str, str]], dataset: str) -> str:
    """`models` are (name, place, place of the adapter or ''), `dataset` is a file or a Hub id."""
    path = Path(dataset)
    kind = _READERS.get(path.suffix.lower(), "json")
    load = (
        f'load_dataset("{kind}", data_files={json.dumps(dataset, ensure_ascii=False)}, split="train")'
        if is_local(dataset) or path.suffix.lower() in ENDINGS
        else Part.read(dataset).loading(params.dataset_split)
    )
    if params.max_rows:
        load += f".take({params.max_rows})"
    away = any(PROVIDER.fullmatch(place) for _, place, _ in models)
    asked = _ASKED.format(longest=params.max_new_tokens, temperature=params.temperature) if away else ""
    how = f"do_sample=True, temperature={params.temperature}, top_k=0" if params.temperature else "do_sample=False"
    more = [f'# evaluate.load("{_ON_THE_HUB[name]}").compute(predictions=said, references=wanted)'
            for name in params.metrics if name in _ON_THE_HUB]  # fmt: skip
    lines = "".join(f"    {line}\n" for line in more)
    listed = "".join(f"    {json.dumps(list(one), ensure_ascii=False)},\n" for one in models)
    return f"""import torch
from datasets import load_dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
{_CLIENT if away else ""}
MODELS = [  # name, model, adapter
{listed}]
rows = {load}
wanted = [row["completion"] if isinstance(row["completion"], str) else row["completion"][-1]["content"] for row in rows]


def answers(model, adapter, batch={params.per_device_eval_batch_size}):
{asked}    tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(model, dtype="auto")
    if adapter:
        model = PeftModel.from_pretrained(model, adapter)
    prompts = [
        row["prompt"]
        if isinstance(row["prompt"], str)
        else tokenizer.apply_chat_template(row["prompt"], tokenize=False, add_generation_prompt=True)
        for row in rows
    ]
    for begin in range(0, len(prompts), batch):
        inputs = tokenizer(
            prompts[begin : begin + batch], padding=True, return_tensors="pt", add_special_tokens=False
        )
        with torch.inference_mode():
            made = model.generate(**inputs, max_new_tokens={params.max_new_tokens}, {how})
        yield from tokenizer.batch_decode(made[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


for name, model, adapter in MODELS:
    said = [answer.strip() for answer in answers(model, adapter)]
    right = [one == other.strip() for one, other in zip(said, wanted)]
    print(name, "exact match:", sum(right) / len(right))
{lines}"""
