from __future__ import annotations

import pytest

from backend.engines.packing import Head, Matrix

SHAPES = [(16, 32), (40, 64), (259, 96), (960, 576)]


@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_what_was_quantized_so_before_is_found_again(rows: int, columns: int) -> None:
    """Weights on 16 even steps, rounded to bf16, as a dequantized checkpoint has them: 4 bits lose nothing."""
    import torch

    chance = torch.Generator().manual_seed(0)
    steps = torch.randint(0, 16, (rows, columns // 32, 32), generator=chance)
    steps[:, :, 0], steps[:, :, 1] = 0, 15
    slope = torch.rand(rows, columns // 32, 1, generator=chance) * 0.01 + 0.001
    weight = (steps * slope - 8.3 * slope).flatten(1).bfloat16()
    matrix = Matrix(weight)
    assert matrix.bits == 4
    x = torch.randn(5, columns, generator=chance).bfloat16()
    expected = x.float() @ weight.float().T
    assert float((matrix(x).float() - expected).std() / expected.std()) < 0.006  # bf16 in, bf16 scales, bf16 out


@pytest.mark.parametrize(("rows", "columns"), SHAPES)
def test_any_other_matrix_keeps_8_bits(rows: int, columns: int) -> None:
    import torch

    chance = torch.Generator().manual_seed(0)
    weight = torch.randn(rows, columns, generator=chance)
    weight[0] = 0
    weight[1, :32] = 3
    matrix = Matrix(weight)
    assert matrix.bits == 8
    x = torch.randn(5, columns, generator=chance).bfloat16()
    product, expected = matrix(x).float(), x.float() @ weight.T
    assert product.shape == (5, rows)
    assert float((product - expected).std() / expected.std()) < 0.01
    assert float(product[:, 0].abs().max()) < 1e-4


def test_a_row_is_the_same_in_any_company() -> None:
    import torch

    matrix = Matrix(torch.randn(259, 96))
    x = torch.randn(33, 96).bfloat16()
    whole = matrix(x)
    for count in (1, 2, 3, 4, 5, 8, 17):
        assert torch.equal(matrix(x[:count]), whole[:count])


def test_the_head_makes_likely_scores_anew() -> None:
    """Those near the best are what float32 gives; the rest are near it."""
    import torch

    chance = torch.Generator().manual_seed(0)
    weight = torch.randn(5000, 64, generator=chance).bfloat16()
    hidden = torch.randn(3, 64, generator=chance) * 0.5
    scores, expected = Head(weight)(hidden), hidden @ weight.float().T
    likely = expected > expected.amax(dim=1, keepdim=True) - 5
    assert 3 < int(likely.sum()) < 1000
    torch.testing.assert_close(scores[likely], expected[likely])
    assert float((scores - expected).std() / expected.std()) < 0.02
    best = Head(weight)(hidden, best=True)
    torch.testing.assert_close(best.amax(dim=1), expected.amax(dim=1))
    assert best.argmax(dim=1).tolist() == expected.argmax(dim=1).tolist()
    torch.testing.assert_close(Head(weight)(torch.zeros(1, 64)), torch.zeros(1, 5000))  # all are best
