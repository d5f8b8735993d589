"""Engines on torchreid's training loop."""

from torchreid_vi.engine.base import CHECKPOINTS, LAST, PREVIOUS, EngineMixin
from torchreid_vi.engine.ddag import DDAGEngine
from torchreid_vi.engine.host import SoftmaxEngine, TripletEngine
from torchreid_vi.engine.mmgl import MMGLEngine
from torchreid_vi.engine.pretraining import BACKBONE, PretextResult, PretrainingEngine
from torchreid_vi.engine.step import StepEngine
from torchreid_vi.engine.vi import VIEngine

__all__ = [
    "BACKBONE",
    "CHECKPOINTS",
    "LAST",
    "PREVIOUS",
    "DDAGEngine",
    "EngineMixin",
    "MMGLEngine",
    "PretextResult",
    "PretrainingEngine",
    "SoftmaxEngine",
    "StepEngine",
    "TripletEngine",
    "VIEngine",
]
