"""SimCLR on lightly's loss: the rival that tools/mmgl_study.py pre-trains beside MMGL.

Importing this file adds an engine, a loss and a transform to the tables of torchreid_vi, as any script may.

Reference:
    Chen et al. A Simple Framework for Contrastive Learning of Visual Representations. arXiv 2002.05709.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from lightly.loss import NTXentLoss
from torch import Tensor, nn
from torchvision import transforms as tv
from yacs.config import CfgNode

from torchreid_vi import ENGINES, LOSSES, build
from torchreid_vi.data.augmentation import TRANSFORMS, Settings, Transform
from torchreid_vi.engine import PretrainingEngine
from torchreid_vi.models import Backbone


class Projections(NamedTuple):
    """What the model returns: the projections (B, D) of a batch of images."""

    projection: Tensor


class SimCLRModel(nn.Module):
    """A torchreid backbone, average pooling and a projection of two layers."""

    def __init__(self, name: str, streams: int, last_stride: int) -> None:
        super().__init__()
        self.backbone = Backbone(name, streams, last_stride)
        width = self.backbone.channels
        self.project = nn.Sequential(
            nn.Linear(width, width, bias=False),
            nn.BatchNorm1d(width),
            nn.ReLU(inplace=True),
            nn.Linear(width, 128),
        )

    def forward(self, images: Tensor, modality: Tensor) -> Projections:
        return Projections(self.project(self.backbone(images, modality).mean((2, 3))))


class TwoViewLoss(nn.Module):
    """lightly's NT-Xent loss of a batch whose halves are two views of the same images."""

    on = "projection"

    def __init__(self) -> None:
        super().__init__()
        self.ntxent = NTXentLoss(temperature=0.1)

    def forward(self, projections: Tensor) -> Tensor:
        return self.ntxent(*projections.float().chunk(2))


class SimCLREngine(PretrainingEngine):
    """Pulls two views of an image together and away from all others; takes ``data.k_tfm`` 2."""

    outputs = Projections._fields

    def forward_backward(self, data: dict[str, Any]) -> dict[str, Any]:
        images, _, modality = self.parse_data_for_train(data)
        with self.autocast():
            outputs = self.model(images, modality)
        return self.step({name: loss(outputs.projection) for name, (loss, _) in self.losses.items()})

    def judge(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """How often an image is the nearest of its batch to its mirror image."""
        hits: list[Tensor] = []
        for images, modality in batches:
            one, two = (
                nn.functional.normalize(self.model(view, modality).projection, dim=1)
                for view in (images, images.flip(-1))
            )
            hits.append((one @ two.T).argmax(1).cpu() == torch.arange(len(images)))
        return {"instance_accuracy": 100 * torch.cat(hits).float().mean().item()}


def _views(settings: Settings) -> tv.Compose:
    """SimCLR's views, with crops that leave a person recognisable."""
    size = (settings.height, settings.width)
    ratio = settings.width / settings.height
    return tv.Compose(
        [
            tv.RandomResizedCrop(size, scale=(0.3, 1.0), ratio=(0.75 * ratio, 1.33 * ratio)),
            tv.RandomHorizontalFlip(),
            tv.RandomApply([tv.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            tv.RandomGrayscale(p=0.2),
        ]
    )


def _model(cfg: CfgNode, num_classes: int, pretrained: bool) -> nn.Module:
    return SimCLRModel(cfg.model.name, cfg.model.streams, cfg.model.last_stride)


TRANSFORMS["simclr"] = Transform(_views)
LOSSES["ntxent"] = TwoViewLoss
ENGINES["simclr"] = SimCLREngine
build.MODELS[SimCLREngine] = _model
