"""An adapter becomes part of its base: a whole model as safetensors, checked against what it was. Runs alone:

    mkdir -p /tmp/merged && echo '{"run": "/tmp/first"}' > /tmp/merged/params.json
    python -m backend.recipes.merge /tmp/merged/params.json

The sum is made in fp32 and saved in the base's own precision, or another that is asked for.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from backend import events as ev
from backend.errors import BadInput, LabError
from backend.recipes import outcome, process, training
from backend.recipes.outcome import Outcome
from backend.recipes.process import say

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_ALIKE = 0.9  # share of likeliest tokens that stay; precision alone moves a few


class MergeParams(BaseModel):
    """Which run, and in which precision."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    run: str = Field(min_length=1, title="Run", description="run/ID of a run that made a LoRA or IA³ adapter")
    dtype: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", title="Precision", description="Of the saved weights; auto is the base's own"
    )


Params = MergeParams


def preflight(params: MergeParams) -> None:
    """Raises NotFound where the run has made nothing, BadInput where there is nothing to merge."""
    made = Outcome.read(Path(params.run))
    if made.adapter is None:
        raise BadInput(f"Run {Path(params.run).name} has a whole model already.", "Use it as it is.", "merge.whole")
    made.must_merge()


def run(params: MergeParams, folder: Path) -> None:
    """Merge into `folder/model`. Raises LabError when the result does not answer as it did."""
    begun = time.perf_counter()
    preflight(params)
    made = Outcome.read(Path(params.run))
    writes = made.task == "CAUSAL_LM"
    say(ev.Started(info={"model": str(made), "dtype": params.dtype}))
    say(ev.Logged(text=f"Loading {made} …"))
    say(ev.Progressed(done=0, total=3))
    tokenizer = made.tokenizer()
    prompts = outcome.asked(tokenizer)
    model, before = merged(made, prompts)
    say(ev.Progressed(done=1, total=3))
    training.save_model(model.to(_dtype(params.dtype, made)), tokenizer, folder)
    del model
    say(ev.Progressed(done=2, total=3))
    figures = outcome.parity(before, Outcome.read(folder).load(), prompts, writes)
    say(ev.Measured(step=1, values=figures))
    if figures["same_tokens"] < _ALIKE:
        raise LabError(
            f"The merged model says something else: {figures['same_tokens']:.0%} of its tokens are as before.",
            "Merge with dtype fp32, or use the adapter as it is.",
            "merge.differs",
        )
    say(ev.Produced(kind="model", name=training.MODEL, file=training.MODEL, step=1))
    say(ev.Progressed(done=3, total=3))
    say(ev.Finished(values={"seconds": round(time.perf_counter() - begun, 1), **figures}))


def merged(made: Outcome, prompts: list[list[int]]) -> tuple[PreTrainedModel, outcome.Said]:
    """The model in fp32 with its adapter, if any, in its weights; and what it said to `prompts` before."""
    model = made.load()
    before = outcome.say(model, prompts, made.task == "CAUSAL_LM")
    if made.adapter is not None:
        model = model.merge_and_unload()
    return model, before


def _dtype(name: str, made: Outcome) -> object:
    import torch

    own = str(made.config().get("dtype") or made.config().get("torch_dtype") or "float32")
    return getattr(torch, {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}.get(name, own))


if __name__ == "__main__":
    process.leave(process.main(Params, run))
