"""MMGL's part-aware cycle-contrastive learning.

Reference:
    MMGL. arXiv 2112.06147.
    The walk: Jabri et al. Space-Time Correspondence as a Contrastive Random Walk. NeurIPS 2020, arXiv 2006.14613.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchreid_vi.losses.base import full_precision, nothing
from torchreid_vi.modality import rows_of


class Reading(NamedTuple):
    """Stripes that a reading of the paper's figure compares.

    Attributes:
        support: Where a stripe looks for neighbours: its ``image`` (and that image's partner), its ``part`` in all
            images, or the whole ``batch``.
        itself: Whether a stripe may be its own neighbour.
        negatives: The stripes of its ``image``, of the whole ``batch``, or the batch's ``other parts``.
    """

    support: str
    itself: bool
    negatives: str


READINGS = {
    "pair": Reading("image", True, "image"),
    "pair_excluding_self": Reading("image", False, "image"),
    "part": Reading("part", False, "image"),
    "batch": Reading("batch", True, "batch"),
    "batch_other_parts": Reading("batch", True, "other parts"),
    "walk": Reading("batch", True, "other parts"),
}


class PartHead(nn.Module):
    """Average, project and normalise each stripe of feature maps (B, C, H, W): (B, S, D).

    The projection is a 1×1 convolution, batch normalisation and ReLU.

    Args:
        channels: C.
        parts: S.
        dim: D.
        shared: Use one projection for all stripes instead of one for each.
    """

    def __init__(self, channels: int, parts: int, dim: int, shared: bool = True) -> None:
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
        return F.normalize(full_precision(projected), dim=2)


class PartCycleContrastLoss(nn.Module):
    """Contrast what a stripe finds in its own modality with what it finds in the other one.

    A stripe u of modality m takes its soft nearest neighbour q̂ = Σ softmax(u·v/τ) v, normalised, once among
    stripes v of its own modality, q̂ᵐ, and once among those of the other, q̂ᵒ. Then q̂ᵒ has to tell the q̂ᵐ of its
    own stripe from that of others: −log exp(q̂ᵒᵢ·q̂ᵐᵢ/τ) / Σⱼ exp(q̂ᵒᵢ·q̂ᵐⱼ/τ). Both modalities count alike.

    The paper's figure leaves open which stripes v and j are, and the authors published no code. Images without a
    partner are left out of every reading. Readings:

    - ``pair``, the default: v and j are the stripes of the two images of a pair. A code that only these two images
      share does not lower this loss.
    - ``pair_excluding_self``: the same, and u is not among the v. No embedding satisfies it: what tells the parts
      apart keeps q̂ᵐ away from u.
    - ``part``: v are the stripes of the same part in all images, without u; j the stripes of u's image.
    - ``batch``: v and j are all stripes of the batch. A pair code lowers it; embeddings of the parts alone do not,
      because the same parts of other images are negatives.
    - ``batch_other_parts``: the same, without the same parts of other images among the j.
    - ``walk``: a random walk over all stripes, to the other modality and back, has to end at the same part:
      −log Σⱼ Pᵢⱼ over all j that are the same part as i, with P = softmax(u·v/τ) softmax(v·u/τ).

    Args:
        temperature: τ.
        reading: Which stripes are compared: ``pair``, ``pair_excluding_self``, ``part``, ``batch``,
            ``batch_other_parts`` or ``walk``, explained in torchreid_vi/methods/mmgl/part_cycle.py.

    Attributes:
        on: The field of the model's output that it reads.

    Raises:
        ValueError: For a temperature that is not positive, or an unknown reading.
    """

    on: str = "parts"

    def __init__(self, temperature: float = 0.07, reading: str = "pair") -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature is {temperature}: it must be above 0")
        if reading not in READINGS:
            raise ValueError(f"reading is {reading!r}: it is one of {', '.join(READINGS)}")
        self.temperature, self.reading = temperature, reading
        self.support, self.itself, self.negatives = READINGS[reading]

    def forward(self, parts: Tensor, modality: Tensor) -> Tensor:
        """Compute the loss of a batch; it is zero when a modality is missing.

        Args:
            parts: Embeddings (B, S, D) of length one, in any floating type; stripe i of every image shows its part
                i. The first visible image is paired with the first infrared one, and so on.
            modality: 0 visible, 1 infrared (B,), on any device; on the CPU nothing waits for a GPU.

        Returns:
            A scalar tensor with a gradient.

        Raises:
            ValueError: When the shapes do not fit together, or negatives are other parts and there is one.
        """
        if parts.ndim != 3 or modality.shape != parts.shape[:1]:
            raise ValueError(
                f"expected (B, S, D) and (B,), got {tuple(parts.shape)} and {tuple(modality.shape)}"
            )
        if parts.shape[1] == 1 and self.negatives != "batch":
            raise ValueError(f"reading {self.reading!r} needs two stripes or more: use 'batch'")
        with torch.autocast(parts.device.type, enabled=False):
            parts = full_precision(parts)
            visible, infrared = (parts.index_select(0, rows) for rows in rows_of(modality, parts.device))
            pairs = min(len(visible), len(infrared))
            if not pairs:
                return nothing(parts)
            both = torch.stack([visible[:pairs], infrared[:pairs]])
            return (self._walk if self.reading == "walk" else self._contrast)(both)

    def _contrast(self, stripes: Tensor) -> Tensor:
        """Contrast neighbours of the stripes (2, P, S, D) of both modalities in their own and in the other one."""
        queries = group(stripes, self.support)
        supports = torch.stack([queries, group(stripes.flip(0), self.support)])
        similarity = queries / self.temperature @ supports.transpose(2, 3)  # (2, G, N, N)
        if not self.itself and similarity.shape[3] > 1:
            itself = _eye(similarity)
            hidden = torch.stack([itself, torch.zeros_like(itself)])[:, None]
            similarity = similarity.masked_fill(hidden, float("-inf"))
        keys, found = F.normalize(similarity.softmax(3) @ supports, dim=3)
        if self.support == "part":  # negatives are the stripes of an image
            keys, found = (x.unflatten(0, (2, -1)).transpose(1, 2).flatten(0, 1) for x in (keys, found))
        logits = found / self.temperature @ keys.transpose(1, 2)
        if self.negatives == "other parts":
            logits = logits.masked_fill(same_part(stripes[0]) & ~_eye(logits), float("-inf"))
        targets = torch.arange(logits.shape[2], device=logits.device).expand(logits.shape[:2])
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())

    def _walk(self, stripes: Tensor) -> Tensor:
        """Walk from stripes (2, P, S, D) to those of the other modality and back."""
        flat = stripes.flatten(1, 2)
        similarity = flat @ flat.flip(0).transpose(1, 2) / self.temperature
        back = similarity.softmax(2) @ similarity.transpose(1, 2).softmax(2)
        home = (back * same_part(stripes[0])).sum(2)
        return -home.clamp(min=torch.finfo(home.dtype).tiny).log().mean()


def group(stripes: Tensor, by: str) -> Tensor:
    """Arrange stripes (2, P, S, D) as groups (G, N, D) by ``image``, by ``part``, or each modality as one."""
    grouped = {"image": stripes, "part": stripes.transpose(1, 2), "batch": stripes.flatten(1, 2)[:, None]}[by]
    return grouped.flatten(0, 1)


def same_part(stripes: Tensor) -> Tensor:
    """Return which of the stripes (B, S, D), flattened, show the same part: booleans (B·S, B·S)."""
    part = torch.arange(stripes.shape[1], device=stripes.device).repeat(len(stripes))
    return part[:, None] == part


def _eye(matrices: Tensor) -> Tensor:
    return torch.eye(matrices.shape[-1], dtype=torch.bool, device=matrices.device)
