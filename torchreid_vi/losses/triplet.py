"""Triplet losses: batch-hard, and those that weigh every triplet.

Hermans et al. In Defense of the Triplet Loss for Person Re-Identification. arXiv 1703.07737.
Ye et al. Deep Learning for Person Re-identification: A Survey and Outlook (AGW). arXiv 2001.04193.
Ye et al. Channel Augmented Joint Learning for Visible-Infrared Recognition (CAJ). ICCV 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from torchreid_vi.losses.base import ReIDLoss, nothing

_LARGEST = 88.0  # of a squared difference, beyond which its exponential leaves float32


class HardTripletLoss(ReIDLoss):
    """The hardest positive and the hardest negative of each image, whatever their modality.

    mean max(0, margin + max d(anchor, positive) − min d(anchor, negative)), d Euclidean, over the anchors
    that have a negative. An anchor alone of its identity is its own positive, at distance 0.

    Args:
        margin: the distance by which a negative should be farther than a positive.
    """

    on = "pooled"

    def __init__(self, margin: float = 0.3) -> None:
        super().__init__()
        self.margin = margin

    def compute(self, inputs: Tensor, pids: Tensor, modality: Tensor) -> Tensor:
        distances, same = _with_negatives(inputs, pids)
        if not len(distances):
            return nothing(inputs)
        hardest_positive = distances.masked_fill(~same, -torch.inf).amax(1)
        hardest_negative = distances.masked_fill(same, torch.inf).amin(1)
        return F.relu(self.margin + hardest_positive - hardest_negative).mean()


class WeightedTripletLoss(ReIDLoss):
    """AGW's weighted regularised triplet loss, and with ``squared`` CAJ's.

    The positives of an anchor are averaged with weights softmax(d), its negatives with softmax(−d), d
    Euclidean; as in the public code an anchor counts among its own positives. With d_p and d_n the two
    averages the loss is the mean of log(1 + exp(d_p − d_n)); squared, of log(1 + exp(∓(d_p − d_n)²)), minus
    where d_n ≥ d_p, the square being cut at 88. Anchors without a negative are left out.

    Args:
        squared: compare by the squared difference.
    """

    on = "pooled"

    def __init__(self, squared: bool = False) -> None:
        super().__init__()
        self.squared = squared

    def compute(self, inputs: Tensor, pids: Tensor, modality: Tensor) -> Tensor:
        distances, same = _with_negatives(inputs, pids)
        if not len(distances):
            return nothing(inputs)
        positive = (distances.masked_fill(~same, -torch.inf).softmax(1) * distances).sum(1)
        negative = ((-distances).masked_fill(same, -torch.inf).softmax(1) * distances).sum(1)
        excess = positive - negative
        if self.squared:
            excess = torch.where(excess > 0, 1.0, -1.0) * (excess**2).clamp(max=_LARGEST)
        return F.softplus(excess).mean()


def _with_negatives(inputs: Tensor, pids: Tensor) -> tuple[Tensor, Tensor]:
    """Of the anchors that have a negative: distances to all images, and which have their identity (A, B)."""
    same = pids[:, None] == pids[None, :]
    anchors = ~same.all(1)
    return euclidean_distances(inputs)[anchors], same[anchors]


def euclidean_distances(x: Tensor) -> Tensor:
    """Distances (B, B) between the rows of ``x`` (B, D), with a gradient also where they vanish."""
    squares = (x**2).sum(1)
    squared = squares[:, None] + squares[None, :] - 2 * x @ x.T
    return squared.clamp(min=1e-12).sqrt()
