"""Cross-Modality Retrieval loss: training on the ranking itself.

MCJA, arXiv 2307.08316 (IEEE TCSVT 2024, 10.1109/TCSVT.2024.3377252). Written from the paper's formulas.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from torchreid_vi.losses.base import ReIDLoss, nothing
from torchreid_vi.losses.soft_rank import soft_rank


class CrossModalityRetrievalLoss(ReIDLoss):
    """CMR: each image queries the images of the other modality, and its soft ranking is the loss.

    Distances are (1 − cos)/2. Over a gallery of n images the target rank is 1 for every image of the
    query's identity and n for every other; the loss is the mean absolute difference between soft and
    target ranks, averaged over queries and gallery, then over the modalities that have queries. Queries
    without a right or without a wrong answer are left out.

    Args:
        epsilon: regularisation of the soft ranks. At the paper's 0.5 and n ≥ 4 they are an affine
            function of the distances, so the loss pulls mean distances apart; ranks proper begin to
            show at about 2/n.

    Raises:
        ValueError: for an ``epsilon`` that is not above 0.
    """

    on = "embedding"

    def __init__(self, epsilon: float = 0.5) -> None:
        super().__init__()
        if epsilon <= 0:
            raise ValueError(f"epsilon is {epsilon}: it must be above 0")
        self.epsilon = epsilon

    def compute(self, inputs: Tensor, pids: Tensor, modality: Tensor) -> Tensor:
        embeddings = F.normalize(inputs, dim=1)
        visible, infrared = ((modality == side).nonzero()[:, 0] for side in (0, 1))
        product = embeddings.index_select(0, visible) @ embeddings.index_select(0, infrared).T
        distances, same = (1 - product) / 2, pids[visible][:, None] == pids[infrared][None, :]
        found = self._one_direction(distances, same), self._one_direction(distances.T, same.T)
        losses = [loss for loss in found if loss is not None]
        return torch.stack(losses).mean() if losses else nothing(inputs)

    def _one_direction(self, distances: Tensor, same: Tensor) -> Tensor | None:
        """The loss of queries against a gallery (Q, n); nothing when no query is valid."""
        valid = same.any(1) & ~same.all(1)
        if not valid.any():
            return None
        if not valid.all():
            distances, same = distances[valid], same[valid]
        number = same.shape[1]
        ranks = soft_rank(distances, self.epsilon, spread=1.0 if self.epsilon * number >= 2 else None)
        target = torch.where(same, 1.0, float(number)).to(ranks.dtype)
        return (ranks - target).abs().mean()
