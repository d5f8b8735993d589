"""SimCLR on lightly's loss: the rival that the study pre-trains beside MMGL.

Importing this file registers a method, a loss and a transform, as any script may.

Reference:
    Chen et al. A Simple Framework for Contrastive Learning of Visual Representations. arXiv 2002.05709.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from lightly.loss import NTXentLoss
from torch import Generator, Tensor, nn
from torchvision import transforms as tv
from torchvision.ops import roi_align

from torchreid_vi import Method, register_loss, register_method, register_transform
from torchreid_vi.data.changes import Change, Sampler, Settings, boxes, mixed
from torchreid_vi.data.maa import hue
from torchreid_vi.methods import Batch, NetworkSettings, Values, WeightedLosses
from torchreid_vi.modality import Rows
from torchreid_vi.models import Backbone

GREY = (0.299, 0.587, 0.114)  # weights of the channels


class Projections(NamedTuple):
    """The model's output: the projections (B, D) of a batch of images."""

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

    def forward(self, images: Tensor, modality: Tensor | Rows) -> Projections:
        return Projections(self.project(self.backbone(images, modality).mean((2, 3))))


class TwoViewLoss(nn.Module):
    """lightly's NT-Xent loss of a batch whose halves are two views of the same images."""

    on = "projection"

    def __init__(self) -> None:
        super().__init__()
        self.ntxent = NTXentLoss(temperature=0.1)

    def forward(self, projections: Tensor) -> Tensor:
        return self.ntxent(*projections.float().chunk(2))


class SimCLR(Method):
    """Pulls two views of an image together and away from all others; takes ``data.k_tfm`` 2."""

    self_supervised = True

    def __init__(self, settings: NetworkSettings, losses: WeightedLosses) -> None:
        network = SimCLRModel(settings.backbone, settings.streams, settings.last_stride)
        super().__init__(network, losses, Projections._fields)

    def training_step(self, batch: Batch) -> tuple[Values, Values]:
        return self.loss_values(self.network(batch.images, batch.rows), lambda field: ()), {}

    def evaluate_pretext(self, batches: Iterable[tuple[Tensor, Tensor]]) -> dict[str, float]:
        """Return how often an image is the nearest of its batch to its mirror image."""
        hits: list[Tensor] = []
        for images, modality in batches:
            one, two = (
                nn.functional.normalize(self.network(view, modality).projection, dim=1)
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


def cropped(images: Tensor, numbers: Tensor) -> Tensor:
    """Return boxes of images (n, 3, H, W) at their size; numbers are top, left, height and width."""
    top, left, height, width = numbers.T
    image = torch.arange(len(images), device=images.device)
    regions = torch.stack([image, left, top, left + width, top + height], 1)
    size = (images.shape[2], images.shape[3])
    return roi_align(images.float(), regions, size, sampling_ratio=1, aligned=True).round_().to(images.dtype)


def jittered(images: Tensor, numbers: Tensor) -> Tensor:
    """Change brightness, then contrast, then saturation, by a factor each (n, 3)."""
    pixels, weights = images.float(), torch.tensor(GREY, device=images.device)[:, None, None]
    for step, factor in enumerate(numbers.T[:, :, None, None, None]):
        grey = (pixels * weights).sum(1, keepdim=True)
        other = (torch.zeros_like(grey), grey.mean((2, 3), keepdim=True), grey)[step]
        pixels = torch.lerp(other, pixels, factor).clamp_(0, 255)
    return pixels.round_().to(images.dtype)


def _batched_views(settings: Settings) -> Sampler:
    """SimCLR's views without the flip, in a form for batches: on a GPU, Pillow's take longer than the step."""
    size = (settings.height, settings.width)

    def aspect(u: Tensor) -> Tensor:
        return settings.height / settings.width * torch.exp(math.log(0.75) + math.log(1.33 / 0.75) * u)

    def sample(number: int, generator: Generator) -> Iterator[Change]:
        yield Change(cropped, torch.arange(number), boxes(number, size, (0.3, 1.0), aspect, 100, generator))
        rows = (torch.rand(number, generator=generator) < 0.8).nonzero()[:, 0]
        yield Change(jittered, rows, 0.6 + 0.8 * torch.rand(len(rows), 3, generator=generator))
        yield Change(hue, rows, 1.2 * torch.rand(len(rows), 1, generator=generator) - 0.6)
        rows = (torch.rand(number, generator=generator) < 0.2).nonzero()[:, 0]
        yield Change(mixed, rows, torch.tensor([*GREY, 0.0]).expand(len(rows), 4))

    return sample


register_transform("simclr", _views)
register_transform("simclr_batched", _batched_views, batched=True)
register_loss("ntxent", TwoViewLoss)
register_method("simclr", SimCLR)
