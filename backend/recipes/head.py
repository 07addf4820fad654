"""Log-probabilities of the tokens that are learned, and of no others.

On a GPU TRL's kernels leave out prompts and padding by themselves. Elsewhere they project every position into the
vocabulary, which on a processor is most of the work where prompts are long and answers short. This gives the same.
"""

from __future__ import annotations

import functools
from typing import Any

_MOST = 100_000_000  # logits held at once; beyond, TRL's own way, which works in tiles, takes less memory
# Models that do something to their logits of which TRL knows more than this file.
_SPECIAL = (
    "final_logit_softcapping",
    "logit_scale",
    "output_multiplier",
    "lm_head_multiplier",
    "logits_scaling",
    "output_router_logits",
)


def compact(model: Any, temperature: float = 1.0) -> bool:
    """Let the fused head that TRL has put on `model` skip what is not learned. Returns whether it will.

    `temperature` is the one that TRL divides logits by. A model without TRL's head is left alone.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = base.config.get_text_config()
    if "forward" not in vars(base) or any(getattr(config, name, None) for name in _SPECIAL):
        return False
    theirs = base.forward

    @functools.wraps(theirs)  # `generate` looks at the signature
    def forward(*given: Any, fused_lm_head: bool = False, labels: Any = None, **named: Any) -> Any:
        mask = None if labels is None else labels[:, 1:] != -100
        plain = not fused_lm_head or mask is None or "shift_labels" in named
        if plain or mask is None or int(mask.sum()) * config.vocab_size > _MOST:
            more = {} if labels is None else {"labels": labels}
            return theirs(*given, **more, **({"fused_lm_head": True} if fused_lm_head else {}), **named)
        return _learned(base, given, named, labels[:, 1:], mask, temperature)

    base.forward = forward
    return True


def _learned(base: Any, given: Any, named: dict[str, Any], labels: Any, mask: Any, temperature: float) -> Any:
    """TRL's output for the tokens in `mask`, of the shape [rows, tokens - 1], and zeros elsewhere."""
    import torch
    from trl.trainer.utils import FusedCausalLMOutput

    count = named.pop("num_items_in_batch", None)
    hidden = base.base_model(*given, **(named | {"use_cache": False})).last_hidden_state[:, :-1]
    logits = base.get_output_embeddings()(hidden[mask]).float() / temperature
    every = logits.log_softmax(-1)
    log_probs = every.gather(1, labels[mask][:, None])[:, 0]
    with torch.no_grad():
        found = {
            "entropy": -(every.exp() * every).sum(-1),
            "mean_logits": logits.mean(-1),
            "is_top1": logits.argmax(-1) == labels[mask],
        }
    whole = {name: one.new_zeros(mask.shape).masked_scatter(mask, one) for name, one in found.items()}
    spread = log_probs.new_zeros(mask.shape).masked_scatter(mask, log_probs)
    loss = -spread.sum() / (mask.sum().clamp(min=1) if count is None else count)
    return FusedCausalLMOutput(loss=loss, log_probs=spread, label_mask=mask, **whole)
