"""Several processes that work on one run together, one for each device of one machine or of several: DDP.

    accelerate launch --multi_gpu --num_processes 4 -m backend.recipes.sft params.json

Every process has the whole model and its share of each batch; gradients are averaged at each step, so four devices with
batches of two learn what one learns with batches of eight. Questions of an evaluation are dealt out. The first process
speaks and writes; what its owner wishes and what the clock says is decided by it for all. Machines of a group meet at
the first one, by its name among them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

PIECES = ("sft", "dpo", "reward", "kto", "orpo")  # these can also do with a piece of the model in each process
TOGETHER = (
    *PIECES,
    "grpo",
    "rloo",
    "ppo",
    "evaluate",
)  # recipes that are tested so; the others take no time, or one GPU
SHARDED = {  # accelerate's words for what may be wished for: the model in pieces, one for each process
    "fsdp": ["--use_fsdp", "--fsdp_version", "2", "--fsdp_auto_wrap_policy", "TRANSFORMER_BASED_WRAP",
             "--fsdp_state_dict_type", "FULL_STATE_DICT", "--fsdp_cpu_ram_efficient_loading", "false"],
    "zero2": ["--use_deepspeed", "--zero_stage", "2"],
    "zero3": ["--use_deepspeed", "--zero_stage", "3", "--zero3_save_16bit_model", "true"],
}  # fmt: skip
PORT = "29500"  # where machines meet, unless MASTER_PORT says otherwise
PATIENCE = 1800  # seconds that machines wait for one another: each installs what it needs at its own pace


@dataclass(frozen=True)
class Group:
    """`machines` that train together, of which this is number `machine`, from 1; they meet at `lead`, the first."""

    machines: int
    machine: int
    lead: str
    port: str = PORT


def group(env: Mapping[str, str]) -> Group | None:
    """What this machine was told of its group; None where it is alone.

    Hugging Face Jobs of one network group reach one another by an alias below a prefix; ours are their numbers.
    """
    machines = int(env.get("ATELIER_MACHINES") or 1)
    if machines < 2:
        return None
    lead = env.get("HF_NETWORK_GROUP_PREFIX", "") + "1"
    return Group(machines, int(env["ATELIER_MACHINE"]), lead, env.get("MASTER_PORT") or PORT)


def command(
    module: str, params: str, count: int, gpu: bool = True, group: Group | None = None, sharding: str = ""
) -> list[str]:
    """What starts a recipe: by itself, or a process for each of the `count` devices of each machine.

    `sharding` is one of SHARDED. On processors, where accelerate shards nothing, it is torch's own launcher:
    accelerate's starts several processes there through MPI alone.
    """
    machines, here = (group.machines, max(1, count)) if group else (1, count)
    if machines * here < 2 or module.rpartition(".")[2] not in TOGETHER:
        return [sys.executable, "-u", "-m", module, params]
    if not gpu:
        launcher = ["torch.distributed.run", "--nproc_per_node", str(here)]
        meet = ["--nnodes", "{machines}", "--node_rank", "{rank}", "--master_addr", "{lead}", "--master_port", "{port}"]
        alone = ["--standalone"]
    else:
        launcher = [
            "accelerate.commands.launch",
            *SHARDED.get(sharding, ["--multi_gpu"]),
            "--num_processes",
            str(machines * here),
        ]
        launcher += ["--mixed_precision", "no", "--dynamo_backend", "no"]  # what the recipe chooses itself
        meet = ["--num_machines", "{machines}", "--machine_rank", "{rank}", "--main_process_ip", "{lead}"]
        meet += ["--main_process_port", "{port}", "--same_network"]
        alone = ["--num_machines", "1"]
    if group:
        said = {"machines": machines, "rank": group.machine - 1, "lead": group.lead, "port": group.port}
        launcher += [part.format(**said) for part in meet] + ["--rdzv_conf", f"timeout={PATIENCE}"]
    else:
        launcher += alone
    return [sys.executable, "-u", "-m", *launcher, "-m", module, params]


def sharding(env: Mapping[str, str], recipe: str) -> tuple[str, str]:
    """(what ATELIER_SHARDED wishes for, or '', why it is not done): FSDP, or ZeRO where DeepSpeed is installed."""
    wish = env.get("ATELIER_SHARDED", "")
    if wish and recipe in TOGETHER and recipe not in PIECES:
        return "", f"ATELIER_SHARDED is {wish}, and {recipe} writes answers, for which a process needs all weights."
    if wish and wish not in SHARDED:
        return "", f"ATELIER_SHARDED is {wish!r}; it can be {', '.join(SHARDED)}."
    if wish.startswith("zero") and group(env):
        return "", f"ATELIER_SHARDED is {wish}, and its checkpoints would lie in pieces on several machines; use fsdp."
    if wish.startswith("zero") and not find_spec("deepspeed"):
        return "", f"ATELIER_SHARDED is {wish}, and DeepSpeed is not installed here: pip install deepspeed."
    return wish, ""


def why_not(recipe: str) -> str:
    """Why a recipe is done by one process, in words; '' where several can."""
    return "" if recipe in TOGETHER else f"only {', '.join(TOGETHER)} share their work among processes"


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


def seen(env: Mapping[str, str], devices: int) -> dict[str, str]:
    """What more a recipe's environment says: with one process the first GPU alone.

    Seeing several, a trainer would split each batch among them in threads, which is slow, and TRL knows nothing of it.
    """
    visible = env.get("CUDA_VISIBLE_DEVICES", "0")
    return {"CUDA_VISIBLE_DEVICES": visible.split(",")[0]} if devices < 2 else {}


def rank() -> int:
    """Which of the processes this is, from 0."""
    return int(os.environ.get("RANK", "0"))


def first() -> bool:
    """Whether this is the first, or the only, process."""
    return rank() == 0


def many() -> int:
    """How many there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def here() -> int:
    """How many of them share this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def take_device() -> None:
    """From here on `cuda` is the GPU of this process; otherwise all would take the first one."""
    import torch

    if many() > 1 and torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))


def meet() -> None:
    """Join the others, for a recipe whose trainer does not do so."""
    if many() > 1:
        from accelerate import PartialState

        PartialState()


def agreed(value: Any) -> Any:
    """The first process's value, for all; every one of them has to ask."""
    if many() == 1:
        return value
    from torch import distributed

    held = [value]
    distributed.broadcast_object_list(held, src=0)
    return held[0]


def collected(value: Any) -> list[Any]:
    """The value of each process, in their order, for all; every one of them has to ask."""
    if many() == 1:
        return [value]
    from torch import distributed

    held: list[Any] = [None] * many()
    distributed.all_gather_object(held, value)
    return held


def rows(values: Tensor) -> Tensor:
    """Rows × columns of each process as one tensor for all: the first row of each, then the second of each, …

    All have as many rows; columns are filled up with 0 to the widest. Every one has to ask.
    """
    import torch
    from torch import distributed
    from torch.nn import functional

    if many() == 1:
        return values
    width = max(collected(values.shape[1]))
    # As bytes where it is true or false: not every backend gathers those.
    mine = functional.pad(
        values.to(torch.uint8) if values.dtype == torch.bool else values, (0, width - values.shape[1])
    )
    held = [torch.empty_like(mine) for _ in range(many())]
    distributed.all_gather(held, mine.contiguous())
    return torch.stack(held, dim=1).flatten(0, 1).to(values.dtype)


def begin_alike(weights: Iterable[Tensor], seed: int) -> None:
    """The first process's `weights` for all, each of which draws at random from here on as nobody else does."""
    from transformers import set_seed

    if many() > 1:
        from torch import distributed

        for weight in weights:
            distributed.broadcast(weight.data, src=0)
    set_seed(seed + rank())


def add_gradients(weights: Iterable[Tensor]) -> None:
    """The gradients of `weights`, summed over the processes, at each; none counts as 0. Every one has to ask."""
    import torch
    from torch import distributed

    if many() == 1:
        return
    for weight in weights:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
        distributed.all_reduce(weight.grad)


def may_rest(config: Any) -> bool:
    """Whether some weights of a model may have no part in a step, which DDP has to look for: those of experts."""
    return any(getattr(config, name, 0) for name in ("num_experts", "num_local_experts", "n_routed_experts"))


def sharded() -> bool:
    """Whether each process holds a part of the model only, as accelerate was told when it started them."""
    return any(os.environ.get(f"ACCELERATE_USE_{way}") == "true" for way in ("FSDP", "DEEPSPEED"))


def gathered(trainer: Any) -> dict[str, Any] | None:
    """The model's weights, whole, at the first process; None where each has them all. Every process has to ask."""
    if not sharded():
        return None
    weights: dict[str, Any] = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    return weights


def wait() -> None:
    """Until all have come here."""
    if many() > 1:
        from torch import distributed

        distributed.barrier()
