"""What a LoRA adapter adds to the packed matrices, which stay as they are and serve all."""

from __future__ import annotations

from typing import Any

from backend.engines.lean import Adapter, Lean, LowRank

_PARTS = {  # our matrix: the modules whose rows it holds, one below the other
    "qkv": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "out": ("self_attn.o_proj",),
    "gate_up": ("mlp.gate_proj", "mlp.up_proj"),
    "down": ("mlp.down_proj",),
}


def low_rank(lean: Lean, model: Any) -> Adapter | None:
    """The adapter that PEFT has put on `model`, or None when it is more than low-rank products on these matrices."""
    from peft.tuners.lora import LoraLayer
    from peft.tuners.tuners_utils import BaseTunerLayer

    known = {
        f"model.layers.{layer}.{name}" for layer in range(lean.count) for names in _PARTS.values() for name in names
    }
    changed = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, BaseTunerLayer) or type(module).__name__.endswith("ModulesToSaveWrapper")
    }
    if not changed or not changed.keys() <= known:
        return None
    if not all(isinstance(module, LoraLayer) and _plain(module) for module in changed.values()):
        return None
    return [
        {
            part: low
            for part, names in _PARTS.items()
            if (low := _stacked(lean, [model.get_submodule(f"model.layers.{layer}.{name}") for name in names], part))
        }
        for layer in range(lean.count)
    ]


def _plain(module: Any) -> bool:
    """Whether it is x @ A @ B · scaling and nothing else."""
    active = module.active_adapters
    return (
        len(active) == 1
        and not module.merged
        and active[0] in module.lora_A
        and type(module.lora_A[active[0]]).__name__ == "Linear"
        and module.lora_B[active[0]].bias is None
        and active[0] not in module.lora_magnitude_vector
        and active[0] not in getattr(module, "lora_variant", {})
    )


def _stacked(lean: Lean, modules: list[Any], part: str) -> LowRank | None:
    """One product for the modules of one matrix: their A side by side, their B in blocks."""
    import torch

    if not any(hasattr(module, "lora_A") for module in modules):
        return None
    down, up = [], []
    for number, module in enumerate(modules):
        rows = module.weight.shape[0]
        if hasattr(module, "lora_A"):
            (name,) = module.active_adapters
            down.append(module.lora_A[name].weight.data.float().T)
            wide = module.lora_B[name].weight.data.float() * module.scaling[name]
            up.append(lean.paired(wide, turns=part == "qkv" and number < 2).T)
        else:
            down.append(torch.empty(module.weight.shape[1], 0))
            up.append(torch.empty(0, rows))
    return LowRank(torch.cat(down, dim=1).contiguous(), torch.block_diag(*up))
