"""Matrices of a model that only answers, in the order in which the CPU's bf16 kernels want them.

PyTorch gives oneDNN a matrix as it lies, which it brings into its own order at every multiplication: with the few rows
of a step that takes longer than multiplying. Done once, a step takes two thirds of the time and gives the same bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_ROWS = 16  # of a typical step


def prepack(model: PreTrainedModel) -> int:
    """Bring the linear layers of `model` into that order, for good; gives how many.

    Theirs are then on the meta device, except where the embeddings are the same: it can only answer from here on.
    Leaves what is not bf16 on a CPU that has such kernels, and a shape whose results would not be the same bits.
    """
    import torch

    if not torch.backends.mkldnn.is_available() or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return 0
    sizes: dict[tuple[Any, ...], bool] = {}
    embeddings = model.get_input_embeddings().weight
    done = 0
    with torch.inference_mode():
        for layer in _linear(model):
            packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), _ROWS)
            shape = (*layer.weight.shape, layer.bias is None)
            if shape not in sizes:
                sizes[shape] = _same(layer, packed)
            if not sizes[shape]:
                continue
            layer.forward = _Forward(packed, layer.bias, layer.out_features)
            if layer.weight is not embeddings:
                layer.weight = torch.nn.Parameter(layer.weight.to("meta"), requires_grad=False)
            done += 1
    return done


class _Forward:
    """Multiplies as `linear` does: [..., columns] in bf16 → [..., rows] in bf16."""

    def __init__(self, packed: Any, bias: Any, rows: int) -> None:
        self._packed, self._bias, self._rows = packed, bias, rows

    def __call__(self, x: Any) -> Any:
        import torch

        multiply = torch.ops.mkldnn._linear_pointwise
        made = multiply(x.reshape(-1, x.shape[-1]), self._packed, self._bias, "none", [], "")
        return made.view(*x.shape[:-1], self._rows)


def _linear(model: Any) -> list[Any]:
    """Plain linear layers in bf16 on the CPU, but those whose adapter looks at the weights at each step (DoRA)."""
    import torch

    looked_at = {
        id(part) for one in model.modules() if any(getattr(one, "use_dora", {}).values()) for part in one.modules()
    }
    return [
        one
        for one in model.modules()
        if type(one) is torch.nn.Linear
        and id(one) not in looked_at
        and one.weight.device.type == "cpu"
        and one.weight.dtype == torch.bfloat16
    ]


def _same(layer: Any, packed: Any) -> bool:
    """Whether one and many rows come out as PyTorch's own do."""
    import torch

    draw = torch.Generator().manual_seed(0)
    own = _Forward(packed, layer.bias, layer.out_features)
    for rows in (1, _ROWS, 4 * _ROWS):
        x = torch.randn(rows, layer.in_features, generator=draw).bfloat16()
        if not torch.equal(own(x), torch.nn.functional.linear(x, layer.weight, layer.bias)):
            return False
    return True
