"""Visible-infrared model: backbone, pooling, batch-normalisation neck, classifier."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchreid_vi.errors import unknown_name
from torchreid_vi.modality import Rows
from torchreid_vi.models.backbone import Backbone


class VIOutput(NamedTuple):
    """The output of :class:`VIModel` in training.

    Attributes:
        pooled: Features before the neck (B, D).
        embedding: Features after the neck (B, D), also what it returns in evaluation.
        logits: Identity scores (B, number of identities).
    """

    pooled: Tensor
    embedding: Tensor
    logits: Tensor


def full_precision(values: Tensor) -> Tensor:
    """Return values in float32 if they are in half precision."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def flip_averaged(embed: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Return the mean of an image's L2-normalised feature and its mirror image's (B, D), in float32.

    Args:
        embed: Features (B, D) of images.
        images: (B, 3, H, W).
    """
    views = (images, images.flip(-1))
    return torch.stack([F.normalize(full_precision(embed(view)), dim=1) for view in views]).mean(0)


class GeM(nn.Module):
    """Generalised mean pooling, (mean xᵖ)^(1/p), of maps (B, C, H, W) to (B, C), in float32.

    Args:
        p: The exponent, fixed; 1 is the average and larger values lean to the maximum.

    Reference:
        Radenović et al. Fine-tuning CNN Image Retrieval with No Human Annotation. TPAMI 2019.
    """

    def __init__(self, p: float = 3.0) -> None:
        super().__init__()
        self.p = p

    def forward(self, maps: Tensor) -> Tensor:
        return (full_precision(maps).clamp(min=0) ** self.p).mean((2, 3)).add(1e-12) ** (1 / self.p)


class AveragePooling(nn.Module):
    """Average maps (B, C, H, W) over positions (B, C)."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps.mean((2, 3))


POOLING: dict[str, type[nn.Module]] = {"gem": GeM, "avg": AveragePooling}


def neck(channels: int, std: float = 0.0) -> nn.BatchNorm1d:
    """Return a batch normalisation without a shift, of features (B, C).

    Args:
        channels: C.
        std: Standard deviation of the normal start, around 1, of its weight.
    """
    norm = nn.BatchNorm1d(channels)
    if std:
        nn.init.normal_(norm.weight, 1.0, std)
    # A bias frozen at zero is no bias: torchreid unfreezes every parameter at each epoch.
    norm.register_parameter("bias", None)
    return norm


class VIModel(nn.Module):
    """A torchreid backbone with the head of AGW, MCJA and their kin.

    ``model(images, modality)`` returns an embedding (B, D) in evaluation and a :class:`VIOutput` in
    training. ``model(images)``, as torchreid's engines call it, returns in training what torchreid's
    models do: the logits, or with ``loss="triplet"`` the logits and the pooled features.

    Args:
        backbone: Name of a torchreid model.
        num_classes: Number of training identities.
        streams: 1, or 2 for a stem for each modality.
        pooling: ``gem`` or ``avg``.
        last_stride: 1 keeps the last stage's resolution, where the backbone has one.
        classifier_std: Standard deviation of the classifier's normal start; 0 keeps PyTorch's uniform start.
        neck_std: Standard deviation of the normal start, around 1, of the neck's weight.
        pretrained: Start from torchreid's ImageNet weights.
        blocks: Between the layers of the backbone, a name from
            :data:`~torchreid_vi.models.blocks.BLOCKS`, or "" for none.
        block_options: Settings of the blocks.
        loss: ``softmax`` or ``triplet``, for torchreid's engines alone.
    """

    def __init__(
        self,
        backbone: str,
        num_classes: int,
        streams: int = 1,
        pooling: str = "gem",
        last_stride: int = 2,
        classifier_std: float = 0.001,
        neck_std: float = 0.0,
        pretrained: bool = False,
        blocks: str = "",
        block_options: dict[str, Any] | None = None,
        loss: str = "softmax",
    ) -> None:
        super().__init__()
        if pooling not in POOLING:
            raise unknown_name("pooling in model.pooling", pooling, POOLING)
        self.backbone = Backbone(backbone, streams, last_stride, pretrained)
        if blocks:
            self.backbone.insert(blocks, **(block_options or {}))
        self.pooling = POOLING[pooling]()
        self.feature_dim = self.backbone.channels
        self.neck = neck(self.feature_dim, neck_std)
        self.classifier = nn.Linear(self.feature_dim, num_classes, bias=False)
        if classifier_std:
            nn.init.normal_(self.classifier.weight, std=classifier_std)
        self.loss = loss

    def forward(self, images: Tensor, modality: Tensor | Rows | None = None) -> Any:
        pooled = self.pooling(self.backbone(images, modality))
        embedding = self.neck(pooled)
        if not self.training:
            return embedding
        logits = self.classifier(embedding)
        if modality is not None:
            return VIOutput(pooled, embedding, logits)
        return (logits, pooled) if self.loss == "triplet" else logits
