"""MMGL's part-aware cycle-contrastive learning.

Reference:
    MMGL. arXiv 2112.06147.
    Positives by a cycle: Wu and Wang. Contrastive Learning of Image Representations with Cross-Video
    Cycle-Consistency. ICCV 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchreid_vi.losses.base import nothing
from torchreid_vi.modality import rows_of

POSITIVES = ("neighbours", "query")


class PartHead(nn.Module):
    """The mean of each stripe of the maps (B, C, H, W), projected and normalised: (B, S, D).

    The projection is a 1×1 convolution, batch normalisation and ReLU, of its own for each stripe or one
    for all.
    """

    def __init__(self, channels: int, parts: int, dim: int, shared: bool = False) -> None:
        super().__init__()
        self.parts = parts
        self.projections = 1 if shared else parts
        # The 1×1 convolutions of all stripes, as one that keeps the stripes apart.
        self.project = nn.Sequential(
            nn.Conv1d(
                self.projections * channels, self.projections * dim, 1, groups=self.projections, bias=False
            ),
            nn.BatchNorm1d(self.projections * dim),
            nn.ReLU(inplace=True),
        )

    def forward(self, maps: Tensor) -> Tensor:
        pooled = maps.unflatten(2, (self.parts, -1)).mean((3, 4)).transpose(1, 2)  # (B, S, C)
        # (B, projections · C, stripes of each) and back
        grouped = pooled.unflatten(1, (self.projections, -1)).transpose(2, 3).flatten(1, 2)
        projected = self.project(grouped).unflatten(1, (self.projections, -1)).transpose(2, 3).flatten(1, 2)
        return F.normalize(projected.float(), dim=2)


class PartCycleContrastLoss(nn.Module):
    """Contrast between what a part finds in its own modality and what it finds in the other one.

    The parts of all images of a modality are a set. A part q of modality m takes its soft nearest
    neighbour in either set, q̂ = Σ softmax(q·u/τ) u, normalised: q̂ᵐ in its own and q̂ᵒ in the other.
    q̂ᵒ has to tell the q̂ᵐ of its own part from those of all other parts of the modality:
    −log exp(q̂ᵒᵢ·q̂ᵐᵢ/τ) / Σⱼ exp(q̂ᵒᵢ·q̂ᵐⱼ/τ). Both modalities count alike.

    Args:
        temperature: τ.
        mask_self: leave q itself out of its own modality's set.
        detach: no gradient through what q̂ᵒ is compared with.
        positives: ``neighbours``, as above, or ``query``, the cycle back to the part itself: q̂ᵒ has to
            tell q from the other parts.

    Attributes:
        on: the field of the model's output that it reads.
    """

    on: str = "parts"

    def __init__(
        self,
        temperature: float = 0.07,
        mask_self: bool = False,
        detach: bool = False,
        positives: str = "neighbours",
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature is {temperature}: it must be above 0")
        if positives not in POSITIVES:
            raise ValueError(f"positives is {positives!r}: it is one of {', '.join(POSITIVES)}")
        self.temperature, self.mask_self, self.detach, self.positives = (
            temperature,
            mask_self,
            detach,
            positives,
        )

    def forward(self, parts: Tensor, modality: Tensor) -> Tensor:
        """The loss of a batch, zero when it lacks a modality.

        Args:
            parts: part embeddings (B, S, D) of length one, in any floating type.
            modality: 0 visible, 1 infrared (B,), on any device; one on the CPU lets nothing wait for a GPU.

        Returns:
            A scalar tensor with a gradient.

        Raises:
            ValueError: when the shapes do not fit together.
        """
        if parts.ndim != 3 or modality.shape != parts.shape[:1]:
            raise ValueError(
                f"expected (B, S, D) and (B,), got {tuple(parts.shape)} and {tuple(modality.shape)}"
            )
        with torch.autocast(parts.device.type, enabled=False):
            parts = parts if parts.dtype is torch.float64 else parts.float()
            visible, infrared = (
                parts.index_select(0, rows).flatten(0, 1) for rows in rows_of(modality, parts.device)
            )
            if not len(visible) or not len(infrared):
                return nothing(parts)
            return (self._half(visible, infrared) + self._half(infrared, visible)) / 2

    def _half(self, own: Tensor, other: Tensor) -> Tensor:
        """The loss of the parts of one modality (N, D) against those of the other (M, D)."""
        found = self._neighbours(own, other)
        keys = self._neighbours(own, own) if self.positives == "neighbours" else own
        keys = keys.detach() if self.detach else keys
        return F.cross_entropy(found @ keys.T / self.temperature, torch.arange(len(own), device=own.device))

    def _neighbours(self, queries: Tensor, others: Tensor) -> Tensor:
        similarity = queries @ others.T / self.temperature
        if self.mask_self and others is queries and len(queries) > 1:
            similarity = similarity.masked_fill(
                torch.eye(len(queries), dtype=torch.bool, device=queries.device), float("-inf")
            )
        return F.normalize(similarity.softmax(1) @ others, dim=1)
