"""Attention off the GPU for the short rows of training, written as matrix products; it gives the same.

PyTorch's own kernel for processors is made for long rows: on rows of some 50 tokens its backward took a sixth of a
step. Nothing more is kept for the way back than queries, keys and values, as there; the weights are worked out again.
"""

from __future__ import annotations

import functools
from typing import Any

NAME = "short_rows"
_SPECIAL = ("softcap", "s_aux", "position_bias")  # of models that do more to their weights
LONGEST = 128  # tokens; on longer rows PyTorch's own kernel is as quick


def use(model: Any) -> bool:
    """Let `model` attend so where it would by PyTorch's own kernel. Returns whether it will."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if base.config._attn_implementation != "sdpa":
        return False
    ALL_ATTENTION_FUNCTIONS.register(NAME, attend)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, sdpa_mask)
    base.set_attn_implementation(NAME)
    return True


def attend(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **named: Any,
) -> tuple[Any, None]:
    """As transformers' `sdpa_attention_forward`: [rows, heads, tokens, size] in, [rows, tokens, heads, size] out."""
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    heads, tokens, size = query.shape[1:]
    learns = torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad)
    masked = attention_mask is not None
    known = attention_mask.dtype == torch.bool and attention_mask.shape[1] == 1 if masked else tokens == key.shape[2]
    causal = masked or (getattr(module, "is_causal", True) if is_causal is None else is_causal)
    known = known and causal and all(named.get(one) is None for one in _SPECIAL)
    known = known and query.dtype == key.dtype == value.dtype and not torch.is_autocast_enabled(query.device.type)
    if dropout or not learns or not known or key.shape[2] > LONGEST or heads % key.shape[1]:
        result: tuple[Any, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, is_causal, **named
        )
        return result
    mask = attention_mask
    if mask is None:
        mask = torch.ones(tokens, tokens, dtype=torch.bool).tril()[None, None]
    out = _product().apply(query, key, value, ~mask, size**-0.5 if scaling is None else scaling)
    return out.transpose(1, 2).contiguous(), None


@functools.cache
def _product() -> Any:
    """softmax(s·Q·Kᵀ, but for what is hidden)·V; several heads of queries may share one of keys and values."""
    import torch

    def weights(query: Any, key: Any, hidden: Any, scale: float) -> Any:
        """In fp32: [rows, heads of keys, queries of all their heads, keys]; `query` comes so, too."""
        scores = torch.matmul(query * scale, key.transpose(2, 3))
        many, heads, _, keys = scores.shape
        apart = scores.view(many, heads, -1, hidden.shape[2], keys)
        apart.masked_fill_(hidden[:, :, None], torch.finfo(scores.dtype).min)
        return scores.softmax(-1, dtype=torch.float32)

    class Product(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, query: Any, key: Any, value: Any, hidden: Any, scale: float) -> Any:
            many, heads, tokens, size = query.shape
            grouped = query.reshape(many, key.shape[1], -1, size)
            out = torch.matmul(weights(grouped, key, hidden, scale).to(value.dtype), value)
            ctx.save_for_backward(query, key, value, hidden)
            ctx.scale = scale
            return out.view(many, heads, tokens, -1)

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            query, key, value, hidden = ctx.saved_tensors
            many, groups, _, size = key.shape
            grouped = query.reshape(many, groups, -1, size)
            grad = grads[0].reshape(many, groups, -1, value.shape[3])
            attended = weights(grouped, key, hidden, ctx.scale)
            to_value = torch.matmul(attended.to(grad.dtype).transpose(2, 3), grad)
            to_attended = torch.matmul(grad, value.transpose(2, 3)).float()
            to_scores = torch._softmax_backward_data(to_attended, attended, -1, torch.float32)
            to_scores = to_scores.mul_(ctx.scale).to(grad.dtype)
            to_query = torch.matmul(to_scores, key).view(query.shape)
            to_key = torch.matmul(to_scores.transpose(2, 3), grouped)
            return to_query, to_key, to_value, None, None

    return Product
