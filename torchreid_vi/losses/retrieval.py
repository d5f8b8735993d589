"""Cross-Modality Retrieval loss: training on the ranking itself.

MCJA, arXiv 2307.08316 (IEEE TCSVT 2024, 10.1109/TCSVT.2024.3377252). Written from the paper's formulas.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from torchreid_vi.losses.base import ReIDLoss, mean_where, nothing
from torchreid_vi.losses.soft_rank import soft_rank
from torchreid_vi.modality import rows_of


class CrossModalityRetrievalLoss(ReIDLoss):
    """CMR: each image queries the images of the other modality, and its soft ranking is the loss.

    Distances are (1 − cos)/2. Over a gallery of n images the target rank is 1 for every image of the
    query's identity and n for every other; the loss is the mean absolute difference between soft and
    target ranks, averaged over queries and gallery, then over the modalities that have queries. Queries
    without a right or without a wrong answer are left out.

    Args:
        epsilon: Regularisation of the soft ranks. At the paper's 0.5 and n ≥ 4 they are an affine
            function of the distances, so the loss pulls mean distances apart; ranks proper begin to
            show at about 2/n. Below it they are found in a loop, each turn of which waits for the device.

    Raises:
        ValueError: For an ``epsilon`` that is not above 0.
    """

    on = "embedding"

    def __init__(self, epsilon: float = 0.5) -> None:
        super().__init__()
        if epsilon <= 0:
            raise ValueError(f"epsilon is {epsilon}: it must be above 0")
        self.epsilon = epsilon

    def compute(self, inputs: Tensor, pids: Tensor, modality: Tensor) -> Tensor:
        embeddings = F.normalize(inputs, dim=1)
        visible, infrared = rows_of(modality, inputs.device)
        if not len(visible) or not len(infrared):
            return nothing(inputs)
        product = embeddings.index_select(0, visible) @ embeddings.index_select(0, infrared).T
        distances, same = (1 - product) / 2, pids[visible][:, None] == pids[infrared][None, :]
        halves = [self._one_direction(distances, same), self._one_direction(distances.T, same.T)]
        losses, valid = (torch.stack(values) for values in zip(*halves, strict=True))
        return mean_where(valid, losses)

    def _one_direction(self, distances: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of queries against a gallery (Q, n), and whether any query is valid."""
        valid = same.any(1) & ~same.all(1)
        number = same.shape[1]
        ranks = soft_rank(distances, self.epsilon, spread=1.0)
        target = torch.where(same, 1.0, float(number)).to(ranks.dtype)
        return mean_where(valid, (ranks - target).abs().mean(1)), valid.any()
