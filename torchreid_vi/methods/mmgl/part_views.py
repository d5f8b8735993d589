"""Part contrast across spectra: the same part of two views of an image attracts, other images' parts repel.

This extension of MMGL is ours. Its loss is NT-Xent, taken part by part.

Reference:
    NT-Xent: Chen et al. A Simple Framework for Contrastive Learning of Visual Representations. ICML 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from torchreid_vi.errors import InputError
from torchreid_vi.losses.base import full_precision
from torchreid_vi.modality import moved


class PartViewContrastLoss(nn.Module):
    """Find each part of an image in another view of that image, among the same part of all images.

    For the embedding z of part i of a view, −log exp(z·z⁺/τ) / Σ exp(z·z'/τ): z⁺ is part i of the same
    image's other view, and z' runs over part i of all other views in the batch, of both modalities. The loss
    is the mean over views and parts. With MAA a visible image's views differ in spectrum, so what they share
    does not depend on it.

    Args:
        temperature: τ.

    Attributes:
        on: Field of the model's output that it reads.

    Raises:
        ValueError: For a temperature that is not positive.
    """

    on: str = "views"

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature is {temperature}: it must be above 0")
        self.temperature = temperature

    def forward(self, parts: Tensor, image: Tensor) -> Tensor:
        """Compute the loss of a batch.

        Args:
            parts: Embeddings (B, S, D) of length one, in any floating type; stripe i of every view shows part i.
            image: Number of the image that each row is a view of (B,), on the CPU.

        Returns:
            A scalar tensor with a gradient.

        Raises:
            ValueError: When the shapes do not fit together.
            InputError: When an image has one view alone.
        """
        if parts.ndim != 3 or image.shape != parts.shape[:1]:
            raise ValueError(
                f"expected (B, S, D) and (B,), got {tuple(parts.shape)} and {tuple(image.shape)}"
            )
        itself = torch.eye(len(image), dtype=torch.bool)
        positive = (image[:, None] == image) & ~itself
        if not positive.any(1).all():
            raise InputError(
                "loss.part_views compares two views of an image: set data.k_tfm to 2, without data.second_view"
            )
        positive, itself = moved(positive, parts.device), moved(itself, parts.device)
        with torch.autocast(parts.device.type, enabled=False):
            by_part = full_precision(parts).transpose(0, 1)  # (S, B, D)
            similarity = by_part @ by_part.transpose(1, 2) / self.temperature
            log_share = similarity.masked_fill(itself, float("-inf")).log_softmax(2)
            return -(log_share.masked_fill(~positive, 0).sum(2) / positive.sum(1)).mean()
