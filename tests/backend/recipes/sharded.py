"""Runs SFT with the model in pieces on processors: accelerate shards on devices alone, so these pretend to be such.

    python -m torch.distributed.run --nproc_per_node 2 -m tests.backend.recipes.sharded params.json

Splitting, gathering, gradients and saving are torch's own, over gloo.
"""

from __future__ import annotations

import sys
from typing import Any

from accelerate.state import DistributedType, PartialState
from torch.distributed.tensor import DTensor

from backend.recipes import process, sft, together

begin, gather = PartialState.__init__, together.gathered


def pretend(self: PartialState, *args: Any, **more: Any) -> None:
    begin(self, *args, **more)
    if self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type = DistributedType.MULTI_XPU


def counted(trainer: Any) -> dict[str, Any] | None:
    weights = list(trainer.model.parameters())
    pieces = [one for one in weights if isinstance(one, DTensor) and one.to_local().numel() < one.numel()]
    print(f"pieces: {len(pieces)} of {len(weights)}", flush=True)
    return gather(trainer)


PartialState.__init__ = pretend
together.gathered = counted

if __name__ == "__main__":
    sys.exit(process.main(sft.Params, sft.run))
