"""DEEN's network: aggregation of neighbouring stages, and branches that multiply an embedding."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from torchreid_vi.errors import InputError
from torchreid_vi.modality import Rows
from torchreid_vi.models import VIModel, VIOutput
from torchreid_vi.models.backbone import INSERTED
from torchreid_vi.models.vi import full_precision, neck

COPIES = 3  # of every embedding
STAGES = ("layer1", "layer2", "layer3", "layer4")


class ChannelAggregation(nn.Module):
    """Attention of the channels of high maps to those of low ones: high + BN(W(E·g)), E = θφᵀ/C_low.

    Args:
        low: Channels of the maps from before a stage.
        high: Channels of the maps from after it.
        stride: Stride of the stage.
    """

    def __init__(self, low: int, high: int, stride: int) -> None:
        super().__init__()
        self.theta, self.g = nn.Conv2d(high, low, 1), nn.Conv2d(low, low, 1)
        self.phi = nn.Conv2d(low, low, 1, stride)
        self.out, self.norm = nn.Conv2d(low, high, 1, stride), _silent(high)

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        """Aggregate maps (B, C_high, H, W) and (B, C_low, H·stride, W·stride); the shape is the first one's."""
        theta, phi, g = self.theta(high).flatten(2), self.phi(low).flatten(2), self.g(low).flatten(2)
        mixed = theta @ phi.transpose(1, 2) / theta.shape[1] @ g
        return high + self.norm(self.out(mixed.unflatten(2, low.shape[2:])))


class PositionAggregation(nn.Module):
    """Attention of the positions of high maps to those of low ones: high + BN(W(E·gᵀ)), E = θᵀφ/N_low.

    There is no softmax, so the product is taken from the right, at a cost that is linear in the positions.

    Args:
        low: Channels of the maps from before a stage; θ, φ and g have half as many.
        high: Channels of the maps from after it.
    """

    def __init__(self, low: int, high: int) -> None:
        super().__init__()
        self.theta = nn.Conv2d(high, low // 2, 1)
        self.phi, self.g = (nn.Conv2d(low, low // 2, 1) for _ in range(2))
        self.out, self.norm = nn.Conv2d(low // 2, high, 1), _silent(high)

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        """Aggregate maps (B, C_high, H, W) and (B, C_low, H′, W′); the shape is the first one's."""
        theta, phi, g = self.theta(high).flatten(2), self.phi(low).flatten(2), self.g(low).flatten(2)
        mixed = g @ phi.transpose(1, 2) / phi.shape[2] @ theta
        return high + self.norm(self.out(mixed.unflatten(2, high.shape[2:])))


class Aggregation(nn.Module):
    """The multi-level block MFA: :class:`ChannelAggregation`, then :class:`PositionAggregation`."""

    def __init__(self, low: int, high: int, stride: int) -> None:
        super().__init__()
        self.channels, self.positions = ChannelAggregation(low, high, stride), PositionAggregation(low, high)

    def forward(self, high: Tensor, low: Tensor) -> Tensor:
        return self.positions(self.channels(high, low), low)


class Expansion(nn.Module):
    """The module DEE: maps (B, C, H, W) and two branches of them, (3B, C, H, W), one copy after the other.

    A branch is the mean of three convolutions with dilations 1, 2 and 3, ReLU, and a projection.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = channels // 4
        self.branches = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(channels, width, 3, padding=d, dilation=d, bias=False) for d in (1, 2, 3))
            for _ in range(COPIES - 1)
        )
        self.projections = nn.ModuleList(nn.Conv2d(width, channels, 1) for _ in self.branches)
        self.dropout = nn.Dropout(0.01)

    def forward(self, maps: Tensor) -> Tensor:
        copies = [maps]
        for branch, project in zip(self.branches, self.projections, strict=True):
            mean = torch.stack([convolve(maps) for convolve in cast(nn.ModuleList, branch)]).mean(0)
            copies.append(project(mean.relu()))
        return self.dropout(torch.cat(copies))


class Stage(nn.Sequential):
    """A backbone's stage, whose layers keep their names, with an aggregation after it, or an expansion, or both."""

    def forward(self, low: Tensor) -> Tensor:
        high = low
        for layer in self:
            high = layer(high, low) if isinstance(layer, Aggregation) else layer(high)
        return high


def _silent(channels: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(channels)
    nn.init.zeros_(norm.weight)
    return norm


class DEENModel(VIModel):
    """A ResNet with aggregations after its first stages and three copies of every embedding.

    ``model(images, modality)`` returns in training a :class:`~torchreid_vi.models.VIOutput` of tensors (B, 3, ·),
    and in evaluation the pooled and normalised features of all copies, each of length one, in a row (B, 6·D).

    Args:
        backbone: Name of a torchreid model with the stages layer1 to layer4.
        num_classes: Number of training identities.
        expand_after: Stage after which embeddings are multiplied: ``layer3``, or ``layer2`` as on RegDB, where
            layer3 has no aggregation and layer4 is left out.
        **kwargs: Arguments of :class:`~torchreid_vi.models.VIModel`.

    Raises:
        InputError: For a backbone without these stages.
    """

    def __init__(self, backbone: str, num_classes: int, expand_after: str = "layer3", **kwargs: Any) -> None:
        super().__init__(backbone, num_classes, **kwargs)
        trunk = self.backbone.trunk
        if not all(isinstance(getattr(trunk, name, None), nn.Sequential) for name in STAGES):
            raise InputError(f"loss.name deen needs a backbone with layer1 to layer4: {backbone} has none")
        last = STAGES.index(expand_after)
        for name, (low, high, stride) in zip(STAGES[: last + 1], self._shapes(), strict=False):
            layers = OrderedDict(getattr(trunk, name).named_children())
            layers[f"mfa{INSERTED}"] = Aggregation(low, high, stride)
            if name == expand_after:
                layers[f"dee{INSERTED}"] = Expansion(high)
            setattr(trunk, name, Stage(layers))
        if expand_after == "layer2":
            trunk.layer4 = nn.Identity()
            self.omits = ("layer4.",)
            self.feature_dim = self.backbone.channels = self.backbone.maps_of(256, 128).shape[1]
            self.neck = neck(self.feature_dim, kwargs.get("neck_std", 0.0))
            self.classifier = nn.Linear(self.feature_dim, num_classes, bias=False)
            if std := kwargs.get("classifier_std", 0.001):
                nn.init.normal_(self.classifier.weight, std=std)

    def _shapes(self) -> list[tuple[int, int, int]]:
        """Return the channels before and after each stage, and its stride."""
        found: list[tuple[int, int, int]] = []

        def note(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            found.append((inputs[0].shape[1], output.shape[1], round(inputs[0].shape[2] / output.shape[2])))

        hooks = [getattr(self.backbone.trunk, name).register_forward_hook(note) for name in STAGES]
        self.backbone.maps_of(256, 128)
        for hook in hooks:
            hook.remove()
        return found

    def forward(self, images: Tensor, modality: Tensor | Rows | None = None) -> Any:
        pooled = self.pooling(self.backbone(images, modality))  # (3B, D)
        embedding = self.neck(pooled)
        outputs = (pooled, embedding, self.classifier(embedding)) if self.training else (pooled, embedding)
        copies = [output.unflatten(0, (COPIES, -1)).transpose(0, 1) for output in outputs]
        if self.training:
            return VIOutput(*copies)
        return torch.cat([F.normalize(full_precision(copy), dim=2) for copy in copies], 2).flatten(1)
