"""DEEN's losses on the three copies of an embedding."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from torchreid_vi.losses import ReIDLoss
from torchreid_vi.losses.triplet import euclidean_distances
from torchreid_vi.methods.deen.network import COPIES
from torchreid_vi.modality import Modality, moved


class PairMiningLoss(ReIDLoss):
    """CPM: bring an identity's centres together across modalities, for copies 1 and 2, and for 1 and 3.

    With v, n the visible and infrared centres of an identity in copy 1, v′, n′ those in the other copy, and
    h(a, b) = max(0, a − b + margin), one half of it is

    h(‖n − v′‖, ‖v − v′‖ without gradient) + ½ h(‖n − v′‖, d(v′)) + ½ h(‖n − v′‖, d(v)),

    where d(c) is the distance of a centre from the nearest one of another identity. The other half exchanges
    visible and infrared. The loss is the mean of both over the identities that have both modalities.

    Args:
        margin: Smallest difference wanted between the second distance and the first.
    """

    on = "copies"

    def __init__(self, margin: float = 0.2) -> None:
        super().__init__()
        self.margin = margin

    def compute(self, inputs: Tensor, pids: Tensor, modality: Tensor) -> Tensor:
        """Compute the loss of copies in a row (B, 3·D)."""
        same = pids[:, None] == pids
        visible = moved(modality, inputs.device) == Modality.VISIBLE
        members = [same & of for of in (visible, ~visible)]  # of an image's identity, in either modality
        both = members[0].any(1) & members[1].any(1)
        weight = both / same.sum(1)  # so that identities count alike
        first, *others = ([_means(copy, of) for of in members] for copy in inputs.chunk(COPIES, 1))
        negatives = ~same & both
        values = sum(
            self._half(n, v, v2, negatives) + self._half(v, n, n2, negatives)
            for (v, n), (v2, n2) in ((first, other) for other in others)
        )
        return (weight * values).sum() / 2 / weight.sum().clamp(min=1e-12)

    def _half(self, opposite: Tensor, own: Tensor, copy: Tensor, negatives: Tensor) -> Tensor:
        """Compute one half for each image (B,), from the centres of its identity (B, D)."""
        across = _distance(opposite, copy)

        def exceeds(limit: Tensor) -> Tensor:
            return F.relu(across - limit + self.margin)

        nearest = [
            euclidean_distances(centres).masked_fill(~negatives, torch.inf).amin(1) for centres in (copy, own)
        ]
        return exceeds(_distance(own, copy).detach()) + sum(exceeds(limit) for limit in nearest) / 2


class OrthogonalityLoss(ReIDLoss):
    """Sum of the products of an image's second and third copy, over 3B as in the public code."""

    on = "copies"

    def compute(self, inputs: Tensor, pids: Tensor, modality: Tensor) -> Tensor:
        """Compute the loss of copies in a row (B, 3·D)."""
        _, second, third = inputs.chunk(COPIES, 1)
        return (second * third).sum() / (COPIES * len(inputs))


def _means(features: Tensor, members: Tensor) -> Tensor:
    """Return for each row of ``members`` (B, B) the mean of these features (B, D)."""
    return members.to(features.dtype) @ features / members.sum(1, keepdim=True).clamp(min=1)


def _distance(one: Tensor, two: Tensor) -> Tensor:
    return (one - two).square().sum(1).clamp(min=1e-12).sqrt()
