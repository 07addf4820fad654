"""LoRA off the GPU with fewer ways through memory; it learns the same.

PEFT brings what goes into a layer, and what comes out of it, to the adapter's fp32 and back: on two cores those copies
were a fifth of a step, where the adapter's own arithmetic is next to nothing. Here the few weights are brought to the
layer's precision instead, as autocast would, and the adapter's part is added where the layer's already lies. The
weights that learn stay fp32, and so do their gradients.
"""

from __future__ import annotations

import functools
from typing import Any


def use(model: Any) -> int:
    """Let the LoRA layers of `model` work so where that gives the same. Returns how many will."""
    from peft.tuners.lora import Linear

    layers = [layer for layer in model.modules() if type(layer) is Linear and _plain(layer.get_base_layer())]
    for layer in layers:
        layer.forward = functools.partial(_forward, layer, layer.forward)
    return len(layers)


def _plain(base: Any) -> bool:
    """Whether it is a frozen matrix in bf16."""
    import torch

    return type(base) is torch.nn.Linear and base.weight.dtype == torch.bfloat16 and not base.weight.requires_grad


def _forward(layer: Any, theirs: Any, x: Any, *given: Any, **named: Any) -> Any:
    import torch

    base = layer.base_layer
    active = [name for name in layer.active_adapters if name in layer.lora_A]
    if (
        layer.disable_adapters
        or layer.merged
        or given
        or named
        or len(active) != 1
        or layer.lora_variant.get(active[0])
        or type(layer.lora_dropout[active[0]]) is not torch.nn.Identity
        or x.dtype != base.weight.dtype
        or torch.is_autocast_enabled(x.device.type)
    ):
        return theirs(x, *given, **named)
    (name,) = active
    return _product().apply(
        x, base.weight, base.bias, layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name]
    )


@functools.cache
def _product() -> Any:
    """x·Wᵀ + b + s·(x·Aᵀ)·Bᵀ, with gradients for x, A and B."""
    import torch

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, weight: Any, bias: Any, a: Any, b: Any, scale: float) -> Any:
            rows = x.reshape(-1, x.shape[-1])
            down, up = a.to(x.dtype), (b * scale).to(x.dtype)
            inner = rows @ down.T
            out = rows @ weight.T if bias is None else torch.addmm(bias, rows, weight.T)
            out.addmm_(inner, up.T)
            ctx.save_for_backward(rows, weight, down, up, inner)
            ctx.scale = scale
            return out.view(*x.shape[:-1], weight.shape[0])

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            rows, weight, down, up, inner = ctx.saved_tensors
            (grad,) = grads
            flat = grad.reshape(-1, grad.shape[-1])
            small = flat @ up
            to_x = None
            if ctx.needs_input_grad[0]:
                to_x = (flat @ weight).addmm_(small, down).view(*grad.shape[:-1], weight.shape[1])
            to_a = (small.T @ rows).float()
            to_b = (flat.T @ inner).float() * ctx.scale
            return to_x, None, None, to_a, to_b, None

    return Product
