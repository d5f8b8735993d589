"""Models: torchreid's backbones with visible-infrared heads, and their weights."""

from torchreid_vi.models.backbone import Backbone, torchreid_model
from torchreid_vi.models.mmgl import MMGLModel, MMGLOutput
from torchreid_vi.models.vi import POOLING, VIModel, VIOutput
from torchreid_vi.models.weights import load_weights, read_checkpoint, save_backbone

__all__ = [
    "POOLING",
    "Backbone",
    "MMGLModel",
    "MMGLOutput",
    "VIModel",
    "VIOutput",
    "load_weights",
    "read_checkpoint",
    "save_backbone",
    "torchreid_model",
]
