"""Weight matrices in a quarter of their room, multiplied by torch's own 4-bit kernels on the CPU.

A matrix is cut into groups of 32 weights of a row, each group into 16 even steps. What was quantized so before, as the
starter is, lies on such steps already: its weights are found again, and one plane of 4 bits holds them. Any other
matrix takes two planes, 8 bits a weight, which is as close as bf16 is to begin with.

The kernels take and give bf16 and add up in float32. A row of the input is multiplied the same way, bit for bit,
whatever rows come with it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

GROUP = 32  # weights that share a scale and a zero
_ROWS = 16  # the kernels take matrices with a multiple of so many rows
_ON_GRID = 0.1  # of a step: how far bf16 may have rounded a weight away from its step; others are off by up to half
_TINY = 1e-6  # the step of a group whose weights are all one
_SLICE = 4096  # rows of the head that are packed at once
_REACH = 6.0  # below the best score: a token there is drawn once in 400 times, if that
_MANY = 2048  # likely tokens of a row


class Plane(NamedTuple):
    """4 bits of each weight, in the kernels' own order, and the scales and zeros [columns / 32, rows, 2] in bf16."""

    bits: Any
    scales: Any


class Matrix:
    """Multiplies as `linear` without a bias does: [n, columns] in bf16 → [n, rows] in bf16."""

    def __init__(self, weight: Any) -> None:
        """`weight` is [rows, columns], in any precision."""
        from torch.nn.functional import pad

        self.rows = weight.shape[0]
        missing = -self.rows % _ROWS
        grouped = (pad(weight, (0, 0, 0, missing)) if missing else weight).float().unflatten(1, (-1, GROUP))
        self.planes = _planes(grouped)

    def __call__(self, x: Any) -> Any:
        import torch

        multiply = torch.ops.aten._weight_int4pack_mm_for_cpu.default
        product = multiply(x, self.planes[0].bits, GROUP, self.planes[0].scales)
        if len(self.planes) > 1:
            product += multiply(x, self.planes[1].bits, GROUP, self.planes[1].scales)
        return product if product.shape[1] == self.rows else product[:, : self.rows]

    @property
    def bits(self) -> int:
        """Of each weight."""
        return 4 * len(self.planes)


def _planes(weights: Any) -> tuple[Plane, ...]:
    """Of `weights` [rows, groups, 32] in float32."""
    low, high = weights.aminmax(dim=-1, keepdim=True)
    step = (high - low).div_(15)
    step[step == 0] = 1  # all weights of the group are one
    steps = ((weights - low) / step).round_()
    # The ends were rounded too, so a line through all weights of the group is nearer to the steps it was made of.
    count, total, squares = GROUP, steps.sum(-1, keepdim=True), steps.square().sum(-1, keepdim=True)
    sums, products = weights.sum(-1, keepdim=True), (steps * weights).sum(-1, keepdim=True)
    spread = count * squares - total * total
    slope = (count * products - total * sums).div_(spread)
    slope[spread == 0] = _TINY
    zero = (sums - slope * total).div_(count)
    off = (weights - (steps * slope + zero)).div_(step).abs_()
    if float(off.max()) < _ON_GRID:
        return (_plane(steps, slope, zero + 8 * slope),)
    # 256 steps; scale and zero are rounded to bf16 first, so that the steps are taken from what is multiplied.
    slope = ((high - low) / 254).bfloat16().float()
    slope[slope == 0] = _TINY
    zero = (low + 136 * slope).bfloat16().float()  # of step 136, for which both planes have an 8
    steps = ((weights - zero) / slope).round_().add_(136).clamp_(0, 255)
    upper = (steps / 16).floor_()
    import torch

    return _plane(upper, 16 * slope, torch.zeros_like(zero)), _plane(steps - 16 * upper, slope, zero)


def _rough(weights: Any) -> Plane:
    """Of `weights` [rows, groups, 32] in float32, in 16 steps."""
    low, high = weights.aminmax(dim=-1, keepdim=True)
    step = (high - low).div_(15)
    step[step == 0] = _TINY
    return _plane(((weights - low) / step).round_().clamp_(0, 15), step, low + 8 * step)


def _plane(steps: Any, scale: Any, zero: Any) -> Plane:
    """The weights are (steps - 8) · scale + zero."""
    import torch

    bits = torch.ops.aten._convert_weight_to_int4pack_for_cpu(steps.flatten(1).int(), 1)
    return Plane(bits, torch.cat([scale, zero], dim=-1).transpose(0, 1).bfloat16().contiguous())


class Head:
    """From the last hidden state to the score of every token: [n, width] → [n, vocabulary], float32.

    The matrix is kept in 8 bits a weight, and once more in 4, beside the original, from which the scores of all likely
    tokens are then made anew, in float32. So what is left of the rounding touches only tokens that are hardly ever
    drawn; and where only the best token counts, 4 bits find it.
    """

    def __init__(self, weight: Any) -> None:
        """`weight` is [vocabulary, width]."""
        import torch
        from torch.nn.functional import pad

        self.weight = weight
        self._scales = (weight.abs().amax(dim=1).float() / 127).bfloat16()
        self._scales[self._scales == 0] = 1
        self._whole = torch.empty(weight.shape, dtype=torch.int8)
        rough = []
        for start in range(0, len(weight), _SLICE):
            part = weight[start : start + _SLICE].float()
            scales = self._scales[start : start + _SLICE, None].float()
            self._whole[start : start + _SLICE] = (part / scales).round_().clamp_(-127, 127)
            rough.append(_rough(pad(part, (0, 0, 0, -len(part) % _ROWS)).unflatten(1, (-1, GROUP))))
        self._rough = Plane(torch.cat([one.bits for one in rough]), torch.cat([one.scales for one in rough], dim=1))

    def __call__(self, hidden: Any, best: bool = False) -> Any:
        """With `best` only the best token's score is sure to be right."""
        import torch

        x = hidden.bfloat16()
        if best:
            multiply = torch.ops.aten._weight_int4pack_mm_for_cpu.default
            scores = multiply(x, self._rough.bits, GROUP, self._rough.scales)[:, : len(self.weight)].float()
        else:
            scores = torch.ops.aten._weight_int8pack_mm.default(x, self._whole, self._scales).float()
        reach, highest = _REACH, scores.amax(dim=1, keepdim=True)
        likely = (scores > highest - reach).nonzero()
        while len(likely) > _MANY * len(hidden):
            reach /= 2
            likely = (scores > highest - reach).nonzero()
        rows, tokens = likely.unbind(1)
        exact = torch.linalg.vecdot(self.weight[tokens].float(), hidden[rows])
        return scores.index_put_((rows, tokens), exact)
