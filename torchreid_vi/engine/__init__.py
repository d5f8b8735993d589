"""The engine on torchreid's training loop."""

from torchreid_vi.engine.checkpoint import CHECKPOINTS, LAST, PREVIOUS
from torchreid_vi.engine.engine import VIEngine
from torchreid_vi.engine.pretext import BACKBONE, PretextResult

__all__ = ["BACKBONE", "CHECKPOINTS", "LAST", "PREVIOUS", "PretextResult", "VIEngine"]
