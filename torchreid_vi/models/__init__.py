"""Models: torchreid's backbones with visible-infrared heads, and their weights."""

from torchreid_vi.models.backbone import Backbone, torchreid_model
from torchreid_vi.models.vi import POOLING, VIModel, VIOutput
from torchreid_vi.models.weights import load_weights, read_checkpoint

__all__ = ["POOLING", "Backbone", "VIModel", "VIOutput", "load_weights", "read_checkpoint", "torchreid_model"]
