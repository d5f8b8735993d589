"""Base class of losses on a batch: chooses the output to read, checks shapes, computes in full precision."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ReIDLoss(nn.Module):
    """A loss on one output of a model for a batch of images.

    A subclass implements :meth:`compute`. Inputs in half precision are computed in float32, also inside
    autocast.

    Attributes:
        on: The field of the model's output that an engine hands to the loss: ``logits``, ``embedding``
            (after the neck) or ``pooled`` (before it).
    """

    on: str = "embedding"

    def forward(self, inputs: Tensor, pids: Tensor, modality: Tensor) -> Tensor:
        """Compute the loss of a batch.

        Args:
            inputs: Embeddings or logits (B, D).
            pids: Identities (B,).
            modality: 0 visible, 1 infrared (B,), on any device; one on the CPU lets no loss wait for a GPU.

        Returns:
            A scalar tensor with a gradient, zero where the batch has nothing to compare.

        Raises:
            ValueError: When the shapes do not fit together.
        """
        if inputs.ndim != 2 or pids.shape != inputs.shape[:1] or modality.shape != inputs.shape[:1]:
            raise ValueError(
                f"expected (B, D), (B,) and (B,), got {tuple(inputs.shape)}, {tuple(pids.shape)} "
                f"and {tuple(modality.shape)}"
            )
        with torch.autocast(inputs.device.type, enabled=False):
            return self.compute(full_precision(inputs), pids, modality)

    def compute(self, inputs: Tensor, pids: Tensor, modality: Tensor) -> Tensor:
        """Compute the loss of inputs of the right shape in full precision."""
        raise NotImplementedError


def full_precision(inputs: Tensor) -> Tensor:
    """Return a tensor in float32; one in double precision stays as it is."""
    return inputs if inputs.dtype is torch.float64 else inputs.float()


def nothing(inputs: Tensor) -> Tensor:
    """A zero that backpropagates zeros, for a batch with nothing to compare."""
    return inputs.sum() * 0


def mean_where(chosen: Tensor, values: Tensor) -> Tensor:
    """Return the mean of the chosen values (N,), zero where none is, without waiting for the device."""
    return torch.where(chosen, values, 0).sum() / chosen.sum().clamp(min=1)
