"""Visible-infrared person re-identification for torchreid.

Importing the package registers its datasets and models with torchreid; importing it again, or
reloading it, changes nothing.
"""

import os
from importlib.metadata import version

# PyTorch then takes large tensors from large pages of memory, whose first use costs far less. It reads this once.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
# OpenMP's threads then sleep while they wait, and leave the cores to other processes. It is read with PyTorch, too.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# oneDNN computes some bf16 convolutions wrongly with the AMX of Intel processors. This is read once, too.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
if os.environ.get("RANK", "0") != "0":  # of torchrun's processes the first alone shows its progress
    os.environ.setdefault("TQDM_DISABLE", "1")

from torchreid_vi.build import register
from torchreid_vi.config import load_config
from torchreid_vi.data.transforms import register_transform
from torchreid_vi.errors import InputError
from torchreid_vi.host import register_dataset, register_model
from torchreid_vi.losses import LOSSES, register_loss
from torchreid_vi.methods import METHODS, Method, register_method
from torchreid_vi.modality import Camera, Modality
from torchreid_vi.retrieval.extractor import FeatureExtractor
from torchreid_vi.runner import run

__version__ = version("torchreid_vi")
__all__ = [
    "LOSSES",
    "METHODS",
    "Camera",
    "FeatureExtractor",
    "InputError",
    "Method",
    "Modality",
    "load_config",
    "register",
    "register_dataset",
    "register_loss",
    "register_method",
    "register_model",
    "register_transform",
    "run",
]

register()
