"""MMGL's self-supervised pre-training."""

from torchreid_vi.methods.mmgl.method import MMGL, MMGLModel, MMGLOutput
from torchreid_vi.methods.mmgl.part_cycle import PartCycleContrastLoss
from torchreid_vi.methods.mmgl.part_views import PartViewContrastLoss
from torchreid_vi.methods.mmgl.permutation import (
    PermutationHead,
    PermutationRecoveryLoss,
    exact_match,
    residual,
    sinkhorn,
    stripe_accuracy,
)
from torchreid_vi.methods.mmgl.stripes import batch_orders, random_orders, shuffle_stripes

__all__ = [
    "MMGL",
    "MMGLModel",
    "MMGLOutput",
    "PartCycleContrastLoss",
    "PartViewContrastLoss",
    "PermutationHead",
    "PermutationRecoveryLoss",
    "batch_orders",
    "exact_match",
    "random_orders",
    "residual",
    "shuffle_stripes",
    "sinkhorn",
    "stripe_accuracy",
]
