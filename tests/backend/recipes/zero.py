"""Runs SFT under DeepSpeed on processors: accelerate would leave it to devices alone.

    DS_ACCELERATOR=cpu ACCELERATE_TORCH_DEVICE=cpu accelerate launch --use_deepspeed --zero_stage 3 \\
        -m tests.backend.recipes.zero params.json

Where it is told that it has a device and a backend, gloo, the rest is DeepSpeed's and accelerate's own.
"""

from __future__ import annotations

from typing import Any

from accelerate.state import DistributedType, PartialState

from backend.recipes import process, sft, together, training

arguments, gathered = training.arguments, together.gathered


def told(trainer: Any) -> dict[str, Any] | None:
    if together.first():
        print(f"stage {trainer.model_wrapped.zero_optimization_stage()}", flush=True)
    return gathered(trainer)


PartialState._prepare_backend = lambda self, *_, **__: ("gloo", DistributedType.NO)
training.arguments = lambda *given: arguments(*given) | {"use_cpu": False}
together.gathered = told

if __name__ == "__main__":
    process.leave(process.main(sft.Params, sft.run))
