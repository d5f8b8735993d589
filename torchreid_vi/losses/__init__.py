"""Losses on a batch: ``loss(inputs (B, D), pids (B,), modality (B,))`` → a scalar tensor."""

from torchreid_vi.losses.base import ReIDLoss
from torchreid_vi.losses.identity import IdentityLoss
from torchreid_vi.losses.retrieval import CrossModalityRetrievalLoss
from torchreid_vi.losses.soft_rank import soft_rank
from torchreid_vi.losses.triplet import HardTripletLoss

__all__ = ["CrossModalityRetrievalLoss", "HardTripletLoss", "IdentityLoss", "ReIDLoss", "soft_rank"]
