"""Batch-hard triplet loss.

Hermans et al. In Defense of the Triplet Loss for Person Re-Identification. arXiv 1703.07737.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from torchreid_vi.losses.base import ReIDLoss, nothing


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
        same = pids[:, None] == pids[None, :]
        anchors = ~same.all(1)
        if not anchors.any():
            return nothing(inputs)
        distances = euclidean_distances(inputs)[anchors]
        same = same[anchors]
        hardest_positive = distances.masked_fill(~same, -torch.inf).amax(1)
        hardest_negative = distances.masked_fill(same, torch.inf).amin(1)
        return F.relu(self.margin + hardest_positive - hardest_negative).mean()


def euclidean_distances(x: Tensor) -> Tensor:
    """Distances (B, B) between the rows of ``x`` (B, D), with a gradient also where they vanish."""
    squares = (x**2).sum(1)
    squared = squares[:, None] + squares[None, :] - 2 * x @ x.T
    return squared.clamp(min=1e-12).sqrt()
