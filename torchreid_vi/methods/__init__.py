"""Training methods, one file or folder each, under the names that ``loss.name`` uses."""

from torchreid_vi.methods.ddag import DDAG, DDAGModel
from torchreid_vi.methods.deen import DEEN, DEENModel
from torchreid_vi.methods.method import (
    METHODS,
    Batch,
    Method,
    NetworkSettings,
    Values,
    WeightedLosses,
    register_method,
)
from torchreid_vi.methods.mmgl import MMGL, MMGLModel
from torchreid_vi.methods.supervised import Supervised
from torchreid_vi.methods.torchreid import TorchreidSoftmax, TorchreidTriplet

__all__ = [
    "DDAG",
    "DEEN",
    "METHODS",
    "MMGL",
    "Batch",
    "DDAGModel",
    "DEENModel",
    "MMGLModel",
    "Method",
    "NetworkSettings",
    "Supervised",
    "TorchreidSoftmax",
    "TorchreidTriplet",
    "Values",
    "WeightedLosses",
    "register_method",
]
