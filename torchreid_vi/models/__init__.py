"""Models: torchreid's backbones with visible-infrared heads, and their weights."""

from torchreid_vi.models.backbone import Backbone, torchreid_model
from torchreid_vi.models.blocks import BLOCKS, ModalityDistributionAdapter, NonLocal
from torchreid_vi.models.checkpoints import read_checkpoint, save_backbone, save_safetensors
from torchreid_vi.models.vi import POOLING, VIModel, VIOutput, flip_averaged
from torchreid_vi.models.weights import identities, load_weights

__all__ = [
    "BLOCKS",
    "POOLING",
    "Backbone",
    "ModalityDistributionAdapter",
    "NonLocal",
    "VIModel",
    "VIOutput",
    "flip_averaged",
    "identities",
    "load_weights",
    "read_checkpoint",
    "save_backbone",
    "save_safetensors",
    "torchreid_model",
]
