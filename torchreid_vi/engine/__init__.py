"""Engines on torchreid's training loop."""

from torchreid_vi.engine.base import CHECKPOINTS, EngineMixin, seed_everything
from torchreid_vi.engine.host import SoftmaxEngine, TripletEngine
from torchreid_vi.engine.vi import VIEngine

__all__ = ["CHECKPOINTS", "EngineMixin", "SoftmaxEngine", "TripletEngine", "VIEngine", "seed_everything"]
