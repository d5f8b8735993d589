"""Sinkhorn and permutation recovery against plain loops."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchreid_vi.methods.mmgl import (
    PermutationHead,
    PermutationRecoveryLoss,
    exact_match,
    residual,
    sinkhorn,
    stripe_accuracy,
)
from torchreid_vi.methods.mmgl.stripes import random_orders


def plain_sinkhorn(matrix, rounds):
    """Rows, then columns, divided by their sums, on a list of lists of positive numbers."""
    matrix = [[math.exp(value) for value in row] for row in matrix]
    for _ in range(rounds):
        matrix = [[value / sum(row) for value in row] for row in matrix]
        sums = [sum(column) for column in zip(*matrix, strict=True)]
        matrix = [[value / total for value, total in zip(row, sums, strict=True)] for row in matrix]
    return matrix


def plain_loss(logits, orders, rounds, reduction):
    total = 0.0
    size = len(orders[0])
    for scores, order in zip(logits, orders, strict=True):
        guess = plain_sinkhorn(scores, rounds)
        squares = [
            (guess[k][j] - (1.0 if order[k] == j else 0.0)) ** 2 for k in range(size) for j in range(size)
        ]
        total += sum(squares) / (1 if reduction == "sum" else size * size)
    return total / len(orders)


@pytest.mark.parametrize("size", [2, 3, 6])
@pytest.mark.parametrize("rounds", [1, 20])
def test_sinkhorn_is_rows_and_columns_divided_in_turn(size, rounds):
    logits = torch.randn(4, size, size, dtype=torch.float64) * 3
    expected = torch.tensor([plain_sinkhorn(m, rounds) for m in logits.tolist()], dtype=torch.float64)
    torch.testing.assert_close(sinkhorn(logits, rounds), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_sinkhorn_is_doubly_stochastic_in_float32(dtype):
    guess = sinkhorn(torch.randn(100, 6, 6).to(dtype))
    assert guess.dtype is torch.float32
    assert (guess >= 0).all()
    assert residual(guess) < 1e-4


@given(st.integers(0, 10_000), st.sampled_from([50.0, 200.0]))
def test_sinkhorn_is_stable_for_large_scores(seed, largest):
    generator = torch.Generator().manual_seed(seed)
    logits = (torch.rand(2, 6, 6, generator=generator) * 2 * largest - largest).requires_grad_()
    guess = sinkhorn(logits)
    guess.square().sum().backward()
    assert guess.isfinite().all()
    assert logits.grad.isfinite().all()
    torch.testing.assert_close(guess.sum(-2), torch.ones(2, 6), rtol=0, atol=1e-4)


def test_sinkhorn_of_a_clear_permutation_of_any_size_is_that_permutation():
    orders = random_orders(20, 6)
    target = torch.nn.functional.one_hot(orders, 6).float()
    torch.testing.assert_close(sinkhorn(100 * target - 50), target, rtol=0, atol=1e-6)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("rounds", [1, 5, 20])
def test_the_loss_equals_plain_loops_in_value_and_gradient(reduction, rounds):
    logits = torch.randn(3, 4, 4, dtype=torch.float64, requires_grad=True)
    orders = random_orders(3, 4)
    loss = PermutationRecoveryLoss(reduction)
    expected = plain_loss(logits.tolist(), orders.tolist(), rounds, reduction)
    assert loss(sinkhorn(logits, rounds), orders).item() == pytest.approx(expected, rel=1e-10)
    assert torch.autograd.gradcheck(lambda x: loss(sinkhorn(x, rounds), orders), logits)
    loss(sinkhorn(logits, rounds), orders).backward()
    step, (b, k, j) = 1e-6, (1, 2, 3)
    moved = logits.detach().clone()
    moved[b, k, j] += step
    slope = (plain_loss(moved.tolist(), orders.tolist(), rounds, reduction) - expected) / step
    assert logits.grad[b, k, j].item() == pytest.approx(slope, rel=1e-3, abs=1e-7)


def test_a_uniform_guess_costs_what_the_two_reductions_say():
    guess, orders = torch.full((4, 6, 6), 1 / 6), random_orders(4, 6)
    assert PermutationRecoveryLoss()(guess, orders).item() == pytest.approx(5.0, abs=1e-5)
    assert PermutationRecoveryLoss(reduction="mean")(guess, orders).item() == pytest.approx(5 / 36, abs=1e-6)


def test_the_head_is_a_mean_a_linear_layer_and_sinkhorn():
    head, maps = PermutationHead(5, 3), torch.randn(2, 5, 6, 2)
    expected = (maps.mean((2, 3)) @ head.scores.weight.T + head.scores.bias).view(2, 3, 3)
    torch.testing.assert_close(head(maps), sinkhorn(expected))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_guess_of_half_precision_is_computed_in_float32(dtype):
    head, maps = PermutationHead(5, 3, rounds=4, temperature=0.1), torch.randn(2, 5, 6, 2)
    with torch.autocast("cpu", dtype):
        guess = head(maps)
        scores = head.scores(maps.mean((2, 3))).view(2, 3, 3)
    assert guess.dtype is torch.float32 and scores.dtype is dtype
    torch.testing.assert_close(guess, sinkhorn(scores.float() / 0.1, 4), rtol=0, atol=0)
    half, orders = guess.to(dtype), random_orders(2, 3)
    assert PermutationRecoveryLoss()(half, orders) == PermutationRecoveryLoss()(half.float(), orders)


def test_scores_by_hand():
    orders = torch.tensor([[0, 1, 2], [2, 0, 1]])
    right = torch.nn.functional.one_hot(orders, 3).float()
    assert (stripe_accuracy(right, orders), exact_match(right, orders), residual(right)) == (100, 100, 0)
    # Two stripes claim the same place: the assignment still finds the only consistent order.
    torn = right.clone()
    torn[0] = torch.tensor([[0.6, 0.4, 0.0], [0.5, 0.45, 0.05], [0.0, 0.1, 0.9]])
    assert stripe_accuracy(torn, orders) == pytest.approx(100 * 5 / 6)
    assert exact_match(torn, orders) == 100
    assert residual(torn) == pytest.approx(0.1)
    assert exact_match(right.flip(-1), orders) == 0


@pytest.mark.parametrize("bad", [{"rounds": 0}, {"temperature": 0.0}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        PermutationHead(5, 3, **bad)
    with pytest.raises(ValueError, match="reduction"):
        PermutationRecoveryLoss("max")
