"""Triplet losses: batch-hard, and those that weigh every triplet.

Hermans et al. In Defense of the Triplet Loss for Person Re-Identification. arXiv 1703.07737.
Ye et al. Deep Learning for Person Re-identification: A Survey and Outlook (AGW). arXiv 2001.04193.
Ye et al. Channel Augmented Joint Learning for Visible-Infrared Recognition (CAJ). ICCV 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from torchreid_vi.losses.base import ReIDLoss, mean_where

_LARGEST = 88.0  # of a squared difference, beyond which its exponential leaves float32


class HardTripletLoss(ReIDLoss):
    """Triplet loss of the hardest positive and the hardest negative of each image, whatever their modality.

    mean max(0, margin + max d(anchor, positive) − min d(anchor, negative)), d Euclidean, over the anchors
    that have a negative. An anchor alone of its identity is its own positive, at distance 0.

    Args:
        margin: The distance by which a negative should be farther than a positive.
    """

    on = "pooled"

    def __init__(self, margin: float = 0.3) -> None:
        super().__init__()
        self.margin = margin

    def compute(self, inputs: Tensor, pids: Tensor, modality: Tensor) -> Tensor:
        distances, same, anchors = _pairs(inputs, pids)
        hardest_positive = distances.masked_fill(~same, -torch.inf).amax(1)
        hardest_negative = distances.masked_fill(same, torch.inf).amin(1)
        return mean_where(anchors, F.relu(self.margin + hardest_positive - hardest_negative))


class WeightedTripletLoss(ReIDLoss):
    """AGW's weighted regularised triplet loss and, with ``squared``, CAJ's.

    The distances of an anchor to its positives, itself among them, are averaged to d_p with the weights
    exp(d) / (Σ exp(d) + ε), those to its negatives to d_n with exp(−d) / (Σ exp(−d) + ε); d is Euclidean and
    ε = 1e-6, as in the public code. The loss is the mean of log(1 + exp(d_p − d_n)); squared, of
    log(1 + exp(∓(d_p − d_n)²)), minus where d_n ≥ d_p, the square being clamped at 88. Anchors without a
    negative are left out.

    Once negatives are farther than about 12, ε outgrows Σ exp(−d): their weights and so d_n vanish, and the
    loss pulls positives together without pushing negatives apart. ``stable`` leaves ε out, which makes the
    weights a softmax at any distance. A network that starts from random values needs that form.

    Args:
        squared: Compare by the squared difference.
        stable: Weigh by an exact softmax instead of the published weights.
    """

    on = "pooled"

    def __init__(self, squared: bool = False, stable: bool = False) -> None:
        super().__init__()
        self.squared, self.stable = squared, stable

    def compute(self, inputs: Tensor, pids: Tensor, modality: Tensor) -> Tensor:
        distances, same, anchors = _pairs(inputs, pids)
        weigh = _softmax if self.stable else _published_weights
        nearer = distances - distances.masked_fill(~same, 0).amax(1, keepdim=True)
        positive = weigh(nearer.masked_fill(~same, -torch.inf))
        # An anchor without a negative counts for nothing, and its weights have to be numbers.
        negative = weigh((-distances).masked_fill(same & anchors[:, None], -torch.inf))
        excess = ((positive - negative) * distances).sum(1)
        if self.squared:
            excess = torch.where(excess > 0, 1.0, -1.0) * (excess**2).clamp(max=_LARGEST)
        return mean_where(anchors, F.softplus(excess))


def _softmax(scores: Tensor) -> Tensor:
    return scores.softmax(1)


def _published_weights(scores: Tensor) -> Tensor:
    """Weights (A, B) of scores (A, B), −∞ where there is no weight."""
    exponentials = scores.exp()
    return exponentials / (exponentials.sum(1, keepdim=True) + 1e-6)


def _pairs(inputs: Tensor, pids: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return distances of all images, which share an identity (B, B), and which have a negative (B,)."""
    same = pids[:, None] == pids[None, :]
    return euclidean_distances(inputs), same, ~same.all(1)


def euclidean_distances(x: Tensor) -> Tensor:
    """Distances (B, B) between the rows of ``x`` (B, D), with a gradient also where they vanish."""
    squares = (x**2).sum(1)
    squared = squares[:, None] + squares[None, :] - 2 * x @ x.T
    return squared.clamp(min=1e-12).sqrt()
