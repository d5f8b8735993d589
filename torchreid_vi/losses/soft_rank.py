"""Soft ranks: a differentiable relaxation of ranking by projection on the permutahedron.

Blondel et al. Fast Differentiable Sorting and Ranking. ICML 2020 (arXiv 2002.08871), L2
regularisation. Written from the formulas; no code of theirs.
"""

from __future__ import annotations

import torch
from torch import Tensor


def soft_rank(values: Tensor, epsilon: float, spread: float | None = None) -> Tensor:
    """Return soft ranks of each row, ascending: the smallest value has the rank nearest to 1.

    The ranks are the Euclidean projection of ``values / epsilon`` on the permutahedron of (1, …, n). For
    ``epsilon`` → 0 they become the ranks themselves; from ``epsilon ≥ 2·spread/n`` on, a sufficient
    condition, the whole row is one block of the projection and the ranks are the values themselves,
    scaled and shifted, without sorting.

    Args:
        values: (..., n).
        epsilon: Strength of the regularisation, above 0.
        spread: A known bound of max − min of every row, which saves reading it from the device.

    Returns:
        Soft ranks (..., n) in [1, n]; each row sums to n(n + 1)/2.

    Raises:
        ValueError: For an ``epsilon`` that is not above 0.

    >>> soft_rank(torch.tensor([[0.3, 0.1, 0.2]]), epsilon=0.01)
    tensor([[3., 1., 2.]])
    """
    if epsilon <= 0:
        raise ValueError(f"epsilon is {epsilon}: it must be above 0")
    n = values.shape[-1]
    if values.numel() == 0:
        return values
    theta = values / epsilon
    if spread is None:
        spread = float((values.detach().amax(-1) - values.detach().amin(-1)).max())
    if epsilon * n >= 2 * spread:
        return theta - theta.mean(-1, keepdim=True) + (n + 1) / 2
    rows = theta.reshape(-1, n)
    ordered, order = rows.sort(dim=1, descending=True)
    weights = torch.arange(n, 0, -1, dtype=rows.dtype, device=rows.device).expand_as(rows)
    block = pool_adjacent_violators((ordered - weights).detach())
    ranks = ordered - _block_mean(ordered - weights, block)
    return torch.empty_like(rows).scatter(1, order, ranks).reshape(values.shape)


def pool_adjacent_violators(values: Tensor) -> Tensor:
    """Return the blocks of the non-increasing isotonic regression of each row (R, n), numbered from 0 (R, n).

    All neighbouring blocks whose means increase are pooled at once, and again until none do; blocks that
    violate the order belong to one block of the solution, so the order of pooling does not matter.
    """
    first = torch.arange(values.shape[1], device=values.device)
    block = first.expand_as(values).contiguous()
    while True:
        mean = _block_mean(values, block)
        starts = block[:, 1:] != block[:, :-1]
        violated = starts & (mean[:, 1:] > mean[:, :-1])
        if not violated.any():
            return block
        block = torch.zeros_like(block)
        block[:, 1:] = (starts & ~violated).cumsum(1)


def _block_mean(values: Tensor, block: Tensor) -> Tensor:
    """Return the mean of each entry's block, at each entry (R, n)."""
    total = torch.zeros_like(values).scatter_add(1, block, values)
    count = torch.zeros_like(values).scatter_add(1, block, torch.ones_like(values))
    return total.gather(1, block) / count.gather(1, block)
