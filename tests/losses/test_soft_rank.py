"""Soft ranks against SciPy's isotonic regression, plain loops and their own identities."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

from torchreid_vi.losses.soft_rank import soft_rank


def by_scipy(row, epsilon):
    """Value and blocks of one row (n,), with SciPy doing the isotonic regression."""
    theta = row / epsilon
    order = np.argsort(-theta, kind="stable")
    weights = np.arange(len(row), 0, -1)
    fit = isotonic_regression(theta[order] - weights, increasing=False)
    ranks = np.empty(len(row))
    ranks[order] = theta[order] - fit.x
    return ranks, order, fit.blocks


@pytest.mark.parametrize("epsilon", [1e-3, 0.01, 0.03, 0.1, 0.5, 5.0])
@pytest.mark.parametrize("n", [1, 2, 3, 17, 64])
def test_values_are_scipys(n, epsilon):
    values = np.random.default_rng(n).uniform(size=(5, n))
    ranks = soft_rank(torch.from_numpy(values), epsilon).numpy()
    expected = np.stack([by_scipy(row, epsilon)[0] for row in values])
    np.testing.assert_allclose(ranks, expected, atol=1e-9 / epsilon)


@pytest.mark.parametrize("epsilon", [0.01, 0.05, 0.2, 1.0])
def test_the_gradient_subtracts_the_mean_of_each_block(epsilon):
    rng = np.random.default_rng(0)
    values, upstream = rng.uniform(size=(4, 12)), rng.normal(size=(4, 12))
    x = torch.from_numpy(values).requires_grad_()
    soft_rank(x, epsilon).backward(torch.from_numpy(upstream))
    for row, g, found in zip(values, upstream, x.grad.numpy(), strict=True):
        _, order, blocks = by_scipy(row, epsilon)
        expected = np.empty_like(row)
        for start, end in pairwise(blocks):
            inside = order[start:end]
            expected[inside] = (g[inside] - g[inside].mean()) / epsilon
        np.testing.assert_allclose(found, expected, atol=1e-10)


@pytest.mark.parametrize("epsilon", [0.004, 0.05, 0.5])
def test_gradcheck(epsilon):
    values = torch.rand(
        3, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    ).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: soft_rank(v, epsilon), (values,), eps=1e-7, atol=1e-4)


def test_a_large_epsilon_gives_the_closed_form_and_the_general_path_agrees():
    values = torch.rand(6, 20, dtype=torch.float64)
    closed = soft_rank(values, 0.5)
    torch.testing.assert_close(closed, (values - values.mean(1, keepdim=True)) / 0.5 + 21 / 2)
    torch.testing.assert_close(soft_rank(values, 0.5, spread=1e9), closed)  # a loose bound forces the sort


def test_a_small_epsilon_gives_the_ranks():
    values = torch.rand(3, 30, dtype=torch.float64)
    ranks = values.argsort(1).argsort(1) + 1
    torch.testing.assert_close(soft_rank(values, 1e-7), ranks.to(values.dtype), atol=1e-6, rtol=0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=1, max_size=15), st.floats(1e-3, 10))
def test_ranks_lie_in_the_permutahedron_and_keep_the_order(row, epsilon):
    values = torch.tensor([row], dtype=torch.float64)
    ranks = soft_rank(values, epsilon)[0]
    n = len(row)
    assert ranks.sum().item() == pytest.approx(n * (n + 1) / 2, rel=1e-9, abs=1e-6)
    largest = ranks.sort(descending=True).values.cumsum(0)
    bounds = torch.arange(n, 0, -1, dtype=torch.float64).cumsum(0)
    assert (largest <= bounds + 1e-6).all()
    assert (ranks[values[0].argsort()].diff() >= -1e-6).all()


def test_epsilon_must_be_positive():
    with pytest.raises(ValueError, match="epsilon"):
        soft_rank(torch.rand(2, 3), 0.0)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_cuda_agrees_with_the_cpu():
    values = torch.rand(5, 33, dtype=torch.float64)
    for epsilon in (0.01, 0.5):
        torch.testing.assert_close(soft_rank(values.cuda(), epsilon).cpu(), soft_rank(values, epsilon))
