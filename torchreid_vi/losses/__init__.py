"""Losses on a batch: ``loss(inputs (B, …), targets …)`` → a scalar tensor."""

from torchreid_vi.losses.base import ReIDLoss
from torchreid_vi.losses.identity import GraphIdentityLoss, IdentityLoss, PartIdentityLoss
from torchreid_vi.losses.part_cycle import PartCycleContrastLoss
from torchreid_vi.losses.permutation import (
    PermutationRecoveryLoss,
    exact_match,
    residual,
    sinkhorn,
    stripe_accuracy,
)
from torchreid_vi.losses.retrieval import CrossModalityRetrievalLoss
from torchreid_vi.losses.soft_rank import soft_rank
from torchreid_vi.losses.triplet import HardTripletLoss, WeightedTripletLoss

__all__ = [
    "CrossModalityRetrievalLoss",
    "GraphIdentityLoss",
    "HardTripletLoss",
    "IdentityLoss",
    "PartCycleContrastLoss",
    "PartIdentityLoss",
    "PermutationRecoveryLoss",
    "ReIDLoss",
    "WeightedTripletLoss",
    "exact_match",
    "residual",
    "sinkhorn",
    "soft_rank",
    "stripe_accuracy",
]
