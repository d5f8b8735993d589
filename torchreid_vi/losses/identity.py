"""Identity classification."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from torchreid_vi.losses.base import ReIDLoss


class IdentityLoss(ReIDLoss):
    """Cross-entropy of the identity logits.

    Args:
        label_smoothing: Share of the target spread over all identities, in [0, 1].

    Raises:
        ValueError: For a share outside of it.
    """

    on = "logits"

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        if not 0 <= label_smoothing <= 1:
            raise ValueError(f"label_smoothing is {label_smoothing}: it must lie in [0, 1]")
        self.label_smoothing = label_smoothing

    def compute(self, inputs: Tensor, pids: Tensor, modality: Tensor) -> Tensor:
        return F.cross_entropy(inputs, pids, label_smoothing=self.label_smoothing)
