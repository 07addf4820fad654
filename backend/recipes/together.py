"""Several processes that train one model together, one for each device of a machine: DDP, as `accelerate` sets it up.

    accelerate launch --multi_gpu --num_processes 4 -m backend.recipes.sft params.json

Every process has the whole model and its share of each batch; gradients are averaged at each step, so four devices with
batches of two learn what one learns with batches of eight. The first process speaks and writes; what its owner wishes
and what the clock says is decided by it for all.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

TOGETHER = ("sft", "dpo", "reward")  # methods that are tested so


def command(module: str, params: str, count: int, gpu: bool = True) -> list[str]:
    """What starts a recipe: by itself, or for `count` > 1 a process for each device.

    On processors it is torch's own launcher: accelerate's starts several processes there through MPI alone.
    """
    alone = [sys.executable, "-u", "-m", module, params]
    if count < 2 or module.rpartition(".")[2] not in TOGETHER:
        return alone
    if not gpu:
        launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(count)]
    else:
        launcher = ["accelerate.commands.launch", "--multi_gpu", "--num_machines", "1", "--num_processes", str(count)]
        launcher += ["--mixed_precision", "no", "--dynamo_backend", "no"]  # what the recipe chooses itself
    return [sys.executable, "-u", "-m", *launcher, "-m", module, params]


def gpus(env: Mapping[str, str]) -> int:
    """GPUs of this machine that a run may take together, told without PyTorch; 0 where that is not wished for."""
    if env.get("ATELIER_ALL_GPUS") != "1":
        return 0
    visible = env.get("CUDA_VISIBLE_DEVICES")
    if visible in ("", "-1") or not shutil.which("nvidia-smi"):
        return 0
    if visible is not None:
        return len(visible.split(","))
    told = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20).stdout
    return sum(line.startswith("GPU ") for line in told.splitlines())


def first() -> bool:
    """Whether this is the first, or the only, process."""
    return os.environ.get("RANK", "0") == "0"


def many() -> int:
    """How many there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def agreed(value: Any) -> Any:
    """The first process's value, for all; every one of them has to ask."""
    if many() == 1:
        return value
    from torch import distributed

    held = [value]
    distributed.broadcast_object_list(held, src=0)
    return held[0]


def wait() -> None:
    """Until all have come here."""
    if many() > 1:
        from torch import distributed

        distributed.barrier()
