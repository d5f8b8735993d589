"""Images to features, the same way in tests, searches and exports."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor

from torchreid_vi.methods.method import Method
from torchreid_vi.models import flip_averaged


class Embedder:
    """Features of normalised images by a method, whose network is in evaluation mode.

    Args:
        method: On any device.
        flip: Average the normalised feature of an image with that of its mirror image.
        precision: Half precision to compute in, on a GPU alone; some processors err in it.
    """

    def __init__(self, method: Method, flip: bool = False, precision: torch.dtype = torch.float32) -> None:
        self.method, self.flip, self.precision = method, flip, precision

    def __call__(self, images: Tensor, modality: Tensor) -> Tensor:
        """Return features (B, D), float32, of images (B, 3, H, W) with their modality (B,)."""
        embed = partial(self.method.embed, modality=modality)
        with self._autocast(images.device):
            features = flip_averaged(embed, images) if self.flip else embed(images)
        return features.float()

    def _autocast(self, device: torch.device) -> AbstractContextManager[None]:
        if device.type == "cpu" or self.precision is torch.float32:
            return nullcontext()
        return torch.autocast(device.type, self.precision)
