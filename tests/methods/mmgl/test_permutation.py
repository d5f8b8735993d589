"""Sinkhorn and permutation recovery against plain loops."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from torchreid_vi.methods.mmgl import (
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
    loss = PermutationRecoveryLoss(rounds=rounds, reduction=reduction)
    expected = plain_loss(logits.tolist(), orders.tolist(), rounds, reduction)
    assert loss(logits, orders).item() == pytest.approx(expected, rel=1e-10)
    assert torch.autograd.gradcheck(lambda x: loss(x, orders), logits)
    loss(logits, orders).backward()
    step, (b, k, j) = 1e-6, (1, 2, 3)
    moved = logits.detach().clone()
    moved[b, k, j] += step
    slope = (plain_loss(moved.tolist(), orders.tolist(), rounds, reduction) - expected) / step
    assert logits.grad[b, k, j].item() == pytest.approx(slope, rel=1e-3, abs=1e-7)


def test_a_uniform_guess_costs_what_the_two_reductions_say():
    logits, orders = torch.zeros(4, 6, 6), random_orders(4, 6)
    assert PermutationRecoveryLoss()(logits, orders).item() == pytest.approx(5.0, abs=1e-5)
    assert PermutationRecoveryLoss(reduction="mean")(logits, orders).item() == pytest.approx(5 / 36, abs=1e-6)


def test_temperature_sharpens_and_noise_disturbs_training_alone():
    logits, orders = torch.randn(4, 6, 6), random_orders(4, 6)
    sharp, plain, noisy = (PermutationRecoveryLoss(**o) for o in ({"temperature": 0.1}, {}, {"noise": 1.0}))
    torch.testing.assert_close(sharp.recover(logits), sinkhorn(logits * 10))
    torch.testing.assert_close(noisy.recover(logits), plain.recover(logits))
    assert noisy(logits, orders) != noisy(logits, orders)
    assert plain(logits, orders) == plain(logits, orders)


def test_the_noise_is_gumbels(monkeypatch):
    loss, found = PermutationRecoveryLoss(noise=2.0), []
    monkeypatch.setattr(loss, "recover", lambda logits: (found.append(logits / 2), logits)[1])
    torch.manual_seed(0)
    loss(torch.zeros(5000, 6, 6), random_orders(5000, 6))
    (drawn,) = found
    assert drawn.mean().item() == pytest.approx(0.5772, abs=0.02)
    assert drawn.std().item() == pytest.approx(math.pi / math.sqrt(6), abs=0.02)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32_also_inside_autocast(dtype):
    logits, orders = torch.randn(4, 6, 6).to(dtype), random_orders(4, 6)
    loss = PermutationRecoveryLoss()
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(logits, orders)
    assert value.dtype is torch.float32
    torch.testing.assert_close(value, loss(logits.float(), orders), rtol=0, atol=0)


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


@pytest.mark.parametrize("bad", [{"rounds": 0}, {"temperature": 0.0}, {"noise": -1.0}, {"reduction": "max"}])
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        PermutationRecoveryLoss(**bad)
