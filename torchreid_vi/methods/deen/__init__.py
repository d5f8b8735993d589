"""DEEN: embeddings multiplied by branches, kept apart from each other and close across modalities.

Reference:
    Zhang and Wang. Diverse Embedding Expansion Network and Low-Light Cross-Modality Benchmark for
    Visible-Infrared Person Re-identification. CVPR 2023, arXiv 2303.14481.
"""

from torchreid_vi.methods.deen.losses import OrthogonalityLoss, PairMiningLoss
from torchreid_vi.methods.deen.method import DEEN
from torchreid_vi.methods.deen.network import DEENModel

__all__ = ["DEEN", "DEENModel", "OrthogonalityLoss", "PairMiningLoss"]
