"""MMGL's permutation recovery: a doubly stochastic guess at the order of shuffled stripes.

Reference:
    MMGL. arXiv 2112.06147.
    Sinkhorn, in log space: Mena et al. Learning Latent Permutations with Gumbel-Sinkhorn Networks. ICLR 2018.
"""

from __future__ import annotations

import scipy
import torch
from torch import Tensor, nn

from torchreid_vi.losses.base import full_precision

REDUCTIONS = ("sum", "mean")


def sinkhorn(logits: Tensor, rounds: int = 20) -> Tensor:
    """Return the doubly stochastic matrix near ``exp(logits)``: normalise rows, then columns, in turn.

    Computed in log space and at least float32. Columns sum to one; how far rows are from it after the
    given rounds is :func:`residual`.

    Args:
        logits: (..., S, S).
        rounds: Number of times that rows and columns are normalised.

    Returns:
        Matrices (..., S, S) of non-negative numbers.

    >>> sinkhorn(torch.zeros(2, 2))
    tensor([[0.5000, 0.5000],
            [0.5000, 0.5000]])
    """
    if logits.ndim < 2 or logits.shape[-1] != logits.shape[-2]:
        raise ValueError(f"expected square matrices (..., S, S), got {tuple(logits.shape)}")
    logits = full_precision(logits)
    for _ in range(rounds):
        logits = logits.log_softmax(-1).log_softmax(-2)  # x − log Σ exp x, in one kernel
    return logits.exp()


class PermutationHead(nn.Module):
    """Average pooling, one linear layer to S × S scores and Sinkhorn, for maps (B, C, H, W).

    Args:
        channels: C.
        stripes: S.
        rounds: Rounds of Sinkhorn.
        temperature: The scores are divided by it.

    Raises:
        ValueError: For settings out of range.
    """

    def __init__(self, channels: int, stripes: int, rounds: int = 20, temperature: float = 1.0) -> None:
        super().__init__()
        if rounds < 1 or temperature <= 0:
            raise ValueError(
                f"rounds is {rounds} and temperature {temperature}: they must be at least 1 and above 0"
            )
        self.stripes, self.rounds, self.temperature = stripes, rounds, temperature
        self.scores = nn.Linear(channels, stripes * stripes)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the doubly stochastic guess P̂ (B, S, S), in float32 or double precision."""
        scores = full_precision(self.scores(maps.mean((2, 3)))).unflatten(1, (self.stripes, self.stripes))
        return sinkhorn(scores / self.temperature, self.rounds)


class PermutationRecoveryLoss(nn.Module):
    """Squared error between a guess at an order, from :func:`sinkhorn`, and its permutation matrix.

    The target of an order O is P with P[k, O[k]] = 1: stripe k of the shuffled image is stripe O[k] of
    the original.

    Args:
        reduction: Reduction of the squared errors of a matrix: ``sum``, the squared Frobenius norm, or ``mean``,
            S² times less.

    Attributes:
        on: The field of the model's output that it reads.
    """

    on: str = "permutation"

    def __init__(self, reduction: str = "sum") -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction is {reduction!r}: it is one of {', '.join(REDUCTIONS)}")
        self.reduction = reduction

    def forward(self, guess: Tensor, orders: Tensor) -> Tensor:
        """Compute the loss, averaged over the batch.

        Args:
            guess: P̂ (B, S, S).
            orders: (B, S), rows are permutations of 0..S−1.

        Returns:
            A scalar tensor with a gradient.

        Raises:
            ValueError: When the shapes do not fit together.
        """
        if guess.shape[:-1] != orders.shape:
            raise ValueError(
                f"expected (B, S, S) and (B, S), got {tuple(guess.shape)} and {tuple(orders.shape)}"
            )
        guess = full_precision(guess)
        target = orders[..., None] == torch.arange(orders.shape[1], device=orders.device)
        error = (guess - target.to(guess.dtype)).square().mean(0)
        return error.sum() if self.reduction == "sum" else error.mean()


def stripe_accuracy(recovered: Tensor, orders: Tensor) -> Tensor:
    """Return the percentage of stripes whose most probable origin is the true one.

    Args:
        recovered: P̂ (B, S, S).
        orders: (B, S).
    """
    return 100 * (recovered.argmax(-1) == orders).float().mean()


def exact_match(recovered: Tensor, orders: Tensor) -> float:
    """Return the percentage of images whose whole order is recovered by the best assignment (Hungarian method).

    Args:
        recovered: P̂ (B, S, S).
        orders: (B, S).
    """
    matrices, truth = recovered.detach().cpu().double().numpy(), orders.cpu().numpy()
    hits = [
        (scipy.optimize.linear_sum_assignment(matrix, maximize=True)[1] == order).all()
        for matrix, order in zip(matrices, truth, strict=True)
    ]
    return 100 * float(sum(hits)) / len(hits)


def residual(recovered: Tensor) -> float:
    """Return the largest distance of a row or column sum from one: how far P̂ is from doubly stochastic."""
    return max((recovered.sum(axis) - 1).abs().max().item() for axis in (-1, -2))
