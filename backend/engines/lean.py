"""A lean forward pass of the Llama family, for many answers at once.

It computes what transformers' own modules compute, with less on the way: query, key and value come from one matrix,
gate and up from another; the matrices are packed (`packing`); the residual stream stays float32; each answer has its
own cache, so that answers of any length share a step. A row of a step is the same, bit for bit, alone or in company.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from backend.engines.packing import GROUP, Head, Matrix

FAMILY = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
_TURNS = ("default", "linear", "llama3", "yarn")  # ways to turn queries and keys that don't change with the length
_STEP = 64  # tokens by which a cache has room

Attend = Callable[[int, Any], Any]  # (layer, [n, query + key + value]) → [n, query]


class LowRank(NamedTuple):
    """What an adapter adds to one matrix: x @ down @ up."""

    down: Any  # [columns, ranks]
    up: Any  # [ranks, rows]


Adapter = list[dict[str, LowRank]]  # for each layer, by the name of our matrix: qkv, out, gate_up, down


class Layer(NamedTuple):
    """One block: scales of its two norms, its four matrices, and what only some of the family have."""

    norm: Any
    qkv: Matrix
    out: Matrix
    norm2: Any
    gate_up: Matrix
    down: Matrix
    bias: Any  # of qkv, or None
    head_norms: Any  # [heads + key heads, size] for queries and keys, or None


class Cache:
    """Keys and values of one answer, [layers, 2, key heads, room, size] in bf16; the first `length` tokens are read."""

    def __init__(self, lean: Lean, room: int) -> None:
        import torch

        self.kept = torch.empty((lean.count, 2, lean.key_heads, room, lean.size), dtype=torch.bfloat16)
        self.length = 0

    def want(self, more: int) -> None:
        """Have room for `more` tokens."""
        need = self.length + more
        if need > self.kept.shape[3]:
            room = -(-max(need, self.length * 3 // 2) // _STEP) * _STEP
            grown = self.kept.new_empty((*self.kept.shape[:3], room, self.kept.shape[4]))
            grown[:, :, :, : self.length] = self.kept[:, :, :, : self.length]
            self.kept = grown

    def begin(self, known: Any) -> None:
        """Take over what another answer has read: [layers, 2, key heads, tokens, size]."""
        self.want(known.shape[3])
        self.length = known.shape[3]
        self.kept[:, :, :, : self.length] = known

    def sides(self, end: int) -> tuple[Any, Any]:
        """Keys and values of the first `end` tokens, layer by layer: [1, key heads, end, size] each."""
        kept = self.kept[:, :, None, :, :end]
        return kept[:, 0].unbind(0), kept[:, 1].unbind(0)


class Row(NamedTuple):
    """One answer's part of a step: its newest token, its cache, and what its adapter adds."""

    token: int
    cache: Cache
    adapter: Adapter | None
    best: bool = False  # whether only the best score counts


def why_not(model: Any) -> str:
    """Why this loaded model can't be run so; '' when it can."""
    config = model.config
    if type(model).__name__ not in FAMILY:
        return f"{type(model).__name__} is not of the Llama family"
    if model.device.type != "cpu":
        return "it is not on the CPU"
    if any(kind != "full_attention" for kind in getattr(config, "layer_types", None) or ()):
        return "it has a sliding window"
    if (window := getattr(config, "sliding_window", None)) and window < config.max_position_embeddings:
        return "it has a sliding window"
    rope = config.rope_parameters
    if rope.get("rope_type") not in _TURNS or rope.get("partial_rotary_factor", 1) != 1:
        return f"its positions are of the kind {rope.get('rope_type')}"
    if config.hidden_act not in ("silu", "swish"):
        return f"its activation is {config.hidden_act}"
    first = model.model.layers[0]
    others = (first.self_attn.o_proj, first.mlp.gate_proj, first.mlp.up_proj, first.mlp.down_proj)
    if any(part.bias is not None for part in others) or model.lm_head.bias is not None:
        return "its matrices have biases"
    if not all(part.weight.is_floating_point() and part.weight.shape[1] % GROUP == 0 for part in others):
        return "its matrices can't be packed"
    if model.config.hidden_size % GROUP:
        return "its matrices can't be packed"
    return ""


class Lean:
    """A model's packed weights, and the passes over them. It shares the embeddings with `model`."""

    def __init__(self, model: Any) -> None:
        import torch

        config, attention = model.config, model.model.layers[0].self_attn
        self.heads, self.key_heads = config.num_attention_heads, config.num_key_value_heads
        self.size = attention.head_dim
        self.width, self.inner = config.hidden_size, config.intermediate_size
        self.count = len(model.model.layers)
        self.scaling = attention.scaling
        self._epsilon = config.rms_norm_eps
        self._embeddings = model.model.embed_tokens.weight.data
        self._rotary = model.model.rotary_emb
        self._turned = torch.empty(0, self.size // 2, dtype=torch.complex64)
        with torch.inference_mode():
            self.layers = [self._layer(layer) for layer in model.model.layers]
            self._norm = self._scale(model.model.norm)
            self._head = Head(model.lm_head.weight.data)

    @property
    def bits(self) -> int:
        """Of the weights in the blocks: 4 where all lie on a grid of 4 bits, else 8."""
        return max(matrix.bits for layer in self.layers for matrix in (layer.qkv, layer.out, layer.gate_up, layer.down))

    def cache(self, room: int) -> Cache:
        return Cache(self, -(-room // _STEP) * _STEP)

    def read(self, tokens: Any, cache: Cache, adapter: Adapter | None, last: int = 1) -> Any:
        """Read `tokens` [n] on top of what `cache` holds; the scores [last, vocabulary] after the last ones."""
        import torch

        cache.want(len(tokens))
        start, end, count = cache.length, cache.length + len(tokens), len(tokens)
        group = self.heads // self.key_heads
        mask = torch.full((count, end), -torch.inf).triu_(start + 1).repeat(group, 1).to(torch.bfloat16)
        keys, values = cache.sides(end)
        query = self.heads * self.size

        def attend(layer: int, now: Any) -> Any:
            made = now.bfloat16()
            cache.kept[layer, :, :, start:end] = made[:, query:].view(count, 2, self.key_heads, -1).permute(1, 2, 0, 3)
            asked = made[:, :query].view(count, self.key_heads, group, self.size).permute(1, 2, 0, 3)
            found = torch.nn.functional.scaled_dot_product_attention(
                asked.reshape(1, self.key_heads, group * count, self.size),
                keys[layer],
                values[layer],
                attn_mask=mask,
                scale=self.scaling,
            )
            found = found.view(self.key_heads, group, count, self.size).permute(2, 0, 1, 3)
            return found.reshape(count, query)

        hidden = self._pass(tokens, self._turns(end)[start:end], attend, [(slice(0, count), adapter)])
        cache.length = end
        return self._head(self._normed(hidden[-last:], self._norm, torch.float32))

    def step(self, rows: Sequence[Row]) -> Any:
        """One more token for each row; the scores [rows, vocabulary] after it."""
        import torch

        attention = torch.nn.functional.scaled_dot_product_attention
        group, query = self.heads // self.key_heads, self.heads * self.size
        for row in rows:
            row.cache.want(1)
        ends = [row.cache.length + 1 for row in rows]
        sides = [row.cache.sides(end) for row, end in zip(rows, ends, strict=True)]
        spots = list(zip(*[row.cache.kept[:, :, :, row.cache.length].unbind(0) for row in rows], strict=True))
        made = torch.empty(len(rows), query + 2 * self.key_heads * self.size, dtype=torch.bfloat16)
        asked = made[:, :query].view(len(rows), 1, self.key_heads, group, self.size).unbind(0)
        fresh = made[:, query:].view(len(rows), 2, self.key_heads, self.size).unbind(0)

        def attend(layer: int, now: Any) -> Any:
            made.copy_(now)
            torch._foreach_copy_(spots[layer], fresh)
            found = [
                attention(one, keys[layer], values[layer], scale=self.scaling)
                for one, (keys, values) in zip(asked, sides, strict=True)
            ]
            return (found[0] if len(found) == 1 else torch.cat(found)).view(len(rows), query)

        tokens = torch.tensor([row.token for row in rows])
        turns = self._turns(max(ends))[torch.tensor([row.cache.length for row in rows])]
        hidden = self._pass(tokens, turns, attend, _grouped(rows))
        for row in rows:
            row.cache.length += 1
        return self._head(self._normed(hidden, self._norm, torch.float32), all(row.best for row in rows))

    def _pass(self, tokens: Any, turns: Any, attend: Attend, groups: list[tuple[slice, Adapter | None]]) -> Any:
        """Through all blocks: [n] tokens → [n, width + 1], float32."""
        import torch
        from torch.nn.functional import silu

        count, turning = len(tokens), (self.heads + self.key_heads) * self.size
        # One more column makes the length of a row what an RMS norm divides by: √(Σ x² + width · ε).
        stream = torch.full((count, self.width + 1), math.sqrt(self.width * self._epsilon))
        inner = stream[:, : self.width]
        inner.copy_(self._embeddings[tokens])
        made = torch.empty(count, turning + self.key_heads * self.size)
        pairs = torch.view_as_complex(made[:, :turning].view(count, -1, self.size // 2, 2))
        turns = turns.unsqueeze(1)
        adapted = [(rows, adapter) for rows, adapter in groups if adapter is not None]
        for number, layer in enumerate(self.layers):
            x = self._normed(stream, layer.norm, torch.bfloat16)
            made.copy_(layer.qkv(x))
            if layer.bias is not None:
                made.add_(layer.bias)
            for rows, adapter in adapted:
                _add(made, x, rows, adapter[number].get("qkv"))
            if layer.head_norms is not None:
                heads = made[:, :turning].view(count, -1, self.size)
                heads.mul_(heads.square().mean(-1, keepdim=True).add_(self._epsilon).rsqrt_()).mul_(layer.head_norms)
            pairs.mul_(turns)
            x = attend(number, made)
            inner.add_(layer.out(x))
            for rows, adapter in adapted:
                _add(inner, x, rows, adapter[number].get("out"))
            x = self._normed(stream, layer.norm2, torch.bfloat16)
            both = layer.gate_up(x)
            if any("gate_up" in adapter[number] for _, adapter in adapted):
                both = both.float()
                for rows, adapter in adapted:
                    _add(both, x, rows, adapter[number].get("gate_up"))
            x = silu(both[:, : self.inner]).mul_(both[:, self.inner :]).bfloat16()
            inner.add_(layer.down(x))
            for rows, adapter in adapted:
                _add(inner, x, rows, adapter[number].get("down"))
        return stream

    def _normed(self, stream: Any, scale: Any, dtype: Any) -> Any:
        """The RMS norm of a stream with its extra column."""
        import torch

        scaled = stream[:, : self.width] * scale
        out = torch.empty(scaled.shape, dtype=dtype)
        return torch.div(scaled, torch.linalg.vector_norm(stream, dim=1, keepdim=True), out=out)

    def _scale(self, norm: Any) -> Any:
        return norm.weight.data.float() * math.sqrt(self.width)

    def _turns(self, end: int) -> Any:
        """For each position before `end` the angle of each pair of a head, as numbers [positions, size / 2]."""
        import torch

        if end > len(self._turned):
            positions = torch.arange(-(-max(end, 1024) // 1024) * 1024)
            cosines, sines = self._rotary(torch.zeros(1), positions[None])
            half = self.size // 2
            self._turned = torch.complex(cosines[0, :, :half].float(), sines[0, :, :half].float())
        return self._turned

    def _layer(self, layer: Any) -> Layer:
        import torch

        attention, mlp = layer.self_attn, layer.mlp
        parts = (attention.q_proj, attention.k_proj, attention.v_proj)
        qkv = torch.cat([self.paired(part.weight.data, number < 2) for number, part in enumerate(parts)])
        bias = None
        if parts[0].bias is not None:
            bias = torch.cat([self.paired(part.bias.data[:, None], number < 2) for number, part in enumerate(parts)])
            bias = bias.flatten().float()
        norms = None
        if hasattr(attention, "q_norm"):
            asked, kept = (
                self.paired(n.weight.data[:, None], True).T.float() for n in (attention.q_norm, attention.k_norm)
            )
            norms = torch.cat([asked.expand(self.heads, -1), kept.expand(self.key_heads, -1)])
        return Layer(
            norm=self._scale(layer.input_layernorm),
            qkv=Matrix(qkv),
            out=Matrix(attention.o_proj.weight.data),
            norm2=self._scale(layer.post_attention_layernorm),
            gate_up=Matrix(torch.cat([mlp.gate_proj.weight.data, mlp.up_proj.weight.data])),
            down=Matrix(mlp.down_proj.weight.data),
            bias=bias,
            head_norms=norms,
        )

    def paired(self, weight: Any, turns: bool) -> Any:
        """Rows of each head in the order in which they are turned in pairs: transformers turns j with j + size / 2."""
        if not turns:
            return weight
        return weight.view(-1, 2, self.size // 2, weight.shape[-1]).transpose(1, 2).reshape(weight.shape)


def _grouped(rows: Sequence[Row]) -> list[tuple[slice, Adapter | None]]:
    """Neighbours with the same adapter."""
    groups: list[tuple[slice, Adapter | None]] = []
    for number, row in enumerate(rows):
        if groups and groups[-1][1] is row.adapter:
            groups[-1] = (slice(groups[-1][0].start, number + 1), row.adapter)
        else:
            groups.append((slice(number, number + 1), row.adapter))
    return groups


def _add(into: Any, x: Any, rows: slice, low: LowRank | None) -> None:
    if low is not None:
        into[rows].addmm_(x[rows].float() @ low.down, low.up)
