"""Blocks between the layers of a backbone, which change nothing before they are trained.

NonLocal: Ye et al. AGW. arXiv 2001.04193, after Wang et al. Non-local Neural Networks, CVPR 2018.
ModalityDistributionAdapter: MCJA's journal version, IEEE TCSVT 2024, 10.1109/TCSVT.2024.3377252.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class NonLocal(nn.Module):
    """Every position attends to every other one: x + BN(W(f·g)), with f = θᵀφ / N over N positions.

    There is no softmax, so the product is taken from the right, at a cost that is linear in N.

    Args:
        channels: C of the maps (B, C, H, W).
        width: Width of θ, φ and g; AGW's cross-modal code has 1.
    """

    def __init__(self, channels: int, width: int = 1) -> None:
        super().__init__()
        self.theta, self.phi, self.g = (nn.Conv2d(channels, width, 1) for _ in range(3))
        self.out = nn.Conv2d(width, channels, 1)
        self.norm = _silent(nn.BatchNorm2d(channels))

    def forward(self, maps: Tensor) -> Tensor:
        theta, phi, g = (conv(maps).flatten(2) for conv in (self.theta, self.phi, self.g))  # (B, r, N)
        mixed = (g / g.shape[2]) @ phi.transpose(1, 2) @ theta
        return maps + self.norm(self.out(mixed.unflatten(2, maps.shape[2:])))


class ModalityDistributionAdapter(nn.Module):
    """MDA: a gate for each channel from a few context vectors of the image, x + BN(x·gate).

    A 1×1 convolution and a softmax over positions give M maps of attention, these the M context vectors
    (C,); a depthwise convolution over them, BN and a sigmoid give the gate.

    Args:
        channels: C of the maps (B, C, H, W).
        contexts: M; published are 2 for SYSU-MM01 and 12 for RegDB.
    """

    def __init__(self, channels: int, contexts: int = 2) -> None:
        super().__init__()
        self.attention = nn.Conv2d(channels, contexts, 1)
        self.mix = nn.Conv1d(channels, channels, contexts, groups=channels)
        self.gate_norm = nn.BatchNorm1d(channels)
        self.norm = _silent(nn.BatchNorm2d(channels))

    def forward(self, maps: Tensor) -> Tensor:
        weights = self.attention(maps).flatten(2).softmax(2)  # (B, M, N)
        contexts = maps.flatten(2) @ weights.transpose(1, 2)  # (B, C, M)
        gate = torch.sigmoid(self.gate_norm(self.mix(contexts)))  # (B, C, 1)
        return maps + self.norm(maps * gate[..., None])


def _silent(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    """Set the gain of a normalisation to zero, so that its block adds nothing at first."""
    nn.init.zeros_(norm.weight)
    return norm


#: Blocks by the names that ``model.blocks`` uses; each is called with the channels and its settings
#: ``model.<name>.*``.
BLOCKS: dict[str, Callable[..., nn.Module]] = {
    "non_local": NonLocal,
    "mda": ModalityDistributionAdapter,
}
