"""Datasets, transforms, samplers and the data manager."""

from torchreid_vi.data.datasets import DATASETS, Splits, VIDataset
from torchreid_vi.data.manager import VIDataManager
from torchreid_vi.data.samplers import SAMPLERS
from torchreid_vi.data.transforms import TRANSFORMS

__all__ = ["DATASETS", "SAMPLERS", "TRANSFORMS", "Splits", "VIDataManager", "VIDataset"]
