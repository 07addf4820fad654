"""A run's model as a GGUF file, its adapter merged in, opened again and compared. Runs alone:

mkdir -p /tmp/exported && echo '{"run": "/tmp/first", "type": "q8_0"}' > /tmp/exported/params.json
python -m backend.recipes.export /tmp/exported/params.json
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from backend import events as ev
from backend.errors import BadInput, LabError
from backend.recipes import checkpoints, gguf_file, merge, outcome, process
from backend.recipes.data import short_name
from backend.recipes.outcome import Outcome
from backend.recipes.process import say

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_ALIKE = {"f32": 0.999, "f16": 0.97, "q8_0": 0.8}  # share of likeliest tokens that must stay


class ExportParams(BaseModel):
    """Which run, and how its numbers are stored."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    run: str = Field(min_length=1, title="Run", description="run/ID of a run that made an adapter or a model")
    type: gguf_file.Kind = Field("q8_0", title="Type", description="q8_0 is half as large as f16")


Params = ExportParams


def preflight(params: ExportParams) -> None:
    """Raises NotFound where the run has made nothing, BadInput where it can't be written as GGUF."""
    made = Outcome.read(Path(params.run))
    made.must_merge()
    if made.task != "CAUSAL_LM":
        raise BadInput("The run made a model that scores; GGUF is for models that write.", "Merge it instead.")
    if config := made.config():
        gguf_file.check(config)


def run(params: ExportParams, folder: Path) -> None:
    """Write `folder/NAME-TYPE.gguf`. Raises LabError when it does not answer as the model does."""
    begun = time.perf_counter()
    preflight(params)
    made = Outcome.read(Path(params.run))
    name = short_name(made.base).rpartition("/")[2] if made.adapter else Path(params.run).name
    place = folder / f"{name}-{params.type}.gguf"
    say(ev.Started(info={"model": str(made), "type": params.type}))
    say(ev.Logged(text=f"Loading {made} …"))
    say(ev.Progressed(done=0, total=3))
    tokenizer = made.tokenizer()
    prompts = outcome.asked(tokenizer)
    model, before = merge.merged(made, prompts)
    say(ev.Progressed(done=1, total=3))
    new = place.with_suffix(".new")
    gguf_file.write(model, tokenizer, new, params.type, name)
    checkpoints.sync(new)
    new.replace(place)
    del model
    say(ev.Progressed(done=2, total=3))
    figures = outcome.parity(before, opened(place), prompts) | {"megabytes": place.stat().st_size / 1e6}
    say(ev.Measured(step=1, values=figures))
    if figures["same_tokens"] < _ALIKE[params.type]:
        place.unlink()
        raise LabError(
            f"The GGUF file says something else: {figures['same_tokens']:.0%} of its tokens are as before.",
            "Take a more exact type.",
            "export.differs",
        )
    say(ev.Produced(kind="gguf", name=place.name, file=place.name, step=1))
    say(ev.Progressed(done=3, total=3))
    say(ev.Finished(values={"seconds": round(time.perf_counter() - begun, 1), **figures}))


def opened(place: Path) -> PreTrainedModel:
    """The file as transformers reads it."""
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    found: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
        str(place.parent),
        gguf_file=place.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
    )
    return found.eval()


if __name__ == "__main__":
    process.leave(process.main(Params, run))
