"""Training transforms on batches: the distributions of :mod:`torchreid_vi.data.transforms`, faster.

Every transform changes some rows of images (B, 3, H, W) in place, of 8 bits or normalised as its place in the chain
says. All random numbers come from a generator on the CPU: one seed gives one batch, whatever the device. Images are
changed one after the other, so that they stay in the processor's cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Generator, Tensor
from torchvision.transforms import functional as F

from torchreid_vi.data.transforms import CC_PUBLISHED, Settings, maa_branches

BatchTransform = Callable[[Tensor, list[int], Generator], None]


# Modality Alignment Augmentation: what becomes of one 8-bit image (3, H, W)


def _hue(image: Tensor, generator: Generator) -> Tensor:
    shift = 6 * (0.4 * float(torch.rand((), generator=generator)) - 0.2)  # 6 is once round
    pixels = image.float()
    red, green, blue = pixels
    high, low = pixels.amax(0), pixels.amin(0)
    chroma = high - low
    angle = torch.where(high == green, blue - red, red - green)
    angle = torch.where(high == red, green - blue, angle) / chroma.clamp(min=1)
    angle += torch.where(high == red, 0.0, torch.where(high == green, 2.0, 4.0)) + shift
    for number, place in enumerate((5.0, 3.0, 1.0)):
        k = (angle + place).remainder_(6)
        pixels[number] = high - chroma * torch.minimum(k, 4 - k).clamp_(0, 1)
    return pixels.round_()


def _weighted_grayscale(image: Tensor, generator: Generator) -> Tensor:
    weights = torch.rand(3, generator=generator).to(image.device)
    return torch.tensordot(weights / weights.sum(), image.float(), 1).round_()


def _cross_channel_cutmix(image: Tensor, generator: Generator, published: bool = False) -> Tensor:
    background = int(torch.randint(3, (), generator=generator))
    foreground = (background + int(torch.randint(1, 3, (), generator=generator))) % 3
    grey = image[background].clone()
    size = image.shape[:0:-1] if published else image.shape[1:]  # the public code swaps the sides
    box = _boxes(1, size, (0.02, 0.33), _log_uniform_aspect, 10, generator, inside=published)[0]
    if box:
        grey[box] = image[(foreground, *box)]
    return grey


def _spectrum_jitter(image: Tensor, generator: Generator) -> Tensor:
    factor, channel = (
        float(torch.rand((), generator=generator)),
        int(torch.randint(3, (), generator=generator)),
    )
    return torch.lerp(image[channel].float(), image.float(), factor).round_()


_BRANCHES: dict[str, Callable[[Tensor, Generator], Tensor]] = {
    "hue": _hue,
    "wg": _weighted_grayscale,
    "cc": _cross_channel_cutmix,
    CC_PUBLISHED: partial(_cross_channel_cutmix, published=True),
    "sj": _spectrum_jitter,
}


def _modality_alignment(settings: Settings) -> BatchTransform:
    branches = maa_branches(settings.maa)

    def apply(images: Tensor, rows: list[int], generator: Generator) -> None:
        for i in _half(rows, generator):
            name = branches[int(torch.randint(len(branches), (), generator=generator))]
            if name:
                images[i] = _BRANCHES[name](images[i], generator)

    return apply


# Geometry, 8-bit images


def _half(rows: list[int], generator: Generator) -> list[int]:
    """Those rows that are chosen, each with probability one half."""
    drawn = torch.rand(len(rows), generator=generator) < 0.5
    return [row for row, chosen in zip(rows, drawn.tolist(), strict=True) if chosen]


def _flip(images: Tensor, rows: list[int], generator: Generator) -> None:
    for i in _half(rows, generator):
        images[i] = images[i].flip(-1)


def _pad_crop(fill: int) -> BatchTransform:
    def apply(images: Tensor, rows: list[int], generator: Generator) -> None:
        height, width = images.shape[2:]
        shifts = torch.randint(-10, 11, (len(rows), 2), generator=generator).tolist()
        for i, (down, right) in zip(rows, shifts, strict=True):
            into = slice(max(0, -down), height - max(0, down)), slice(max(0, -right), width - max(0, right))
            taken = slice(max(0, down), height - max(0, -down)), slice(max(0, right), width - max(0, -right))
            shifted = torch.full_like(images[i], fill)
            shifted[(slice(None), *into)] = images[(i, slice(None), *taken)]
            images[i] = shifted

    return apply


def _enlarge_crop(images: Tensor, rows: list[int], generator: Generator) -> None:
    height, width = images.shape[2:]
    size = round(height * 1.125), round(width * 1.125)
    room = torch.tensor([size[0] - height, size[1] - width])
    for i in _half(rows, generator):
        top, left = (torch.rand(2, generator=generator) * room).round().long().tolist()
        larger = F.resize(images[i], list(size), antialias=True)
        images[i] = larger[:, top : top + height, left : left + width]


# Normalised images


def _erase(
    fill: Sequence[float], largest: float, aspect: Callable[[Tensor], Tensor], attempts: int
) -> BatchTransform:
    def apply(images: Tensor, rows: list[int], generator: Generator) -> None:
        colour = torch.tensor(fill, device=images.device)[:, None, None]
        chosen = _half(rows, generator)
        boxes = _boxes(
            len(chosen), images.shape[2:], (0.02, largest), aspect, attempts, generator, inside=True
        )
        for i, box in zip(chosen, boxes, strict=True):
            if box:
                images[(i, slice(None), *box)] = colour

    return apply


def _boxes(
    number: int,
    size: Sequence[int],
    area: tuple[float, float],
    aspect: Callable[[Tensor], Tensor],
    attempts: int,
    generator: Generator,
    inside: bool = False,
) -> list[tuple[slice, slice] | None]:
    """For each of a number of images the first of some random boxes that fits, or none.

    Args:
        number: of images.
        size: of an image, (H, W).
        area: bounds of the share of the image.
        aspect: from uniform numbers to height over width.
        attempts: boxes drawn for each image.
        generator: of random numbers.
        inside: whether a box has to be smaller than the image on both sides.
    """
    (height, width), (least, most) = size, area
    sizes = height * width * (least + (most - least) * torch.rand(number, attempts, generator=generator))
    aspects = aspect(torch.rand(number, attempts, generator=generator))
    h, w = (sizes * aspects).sqrt().round().long(), (sizes / aspects).sqrt().round().long()
    fits = (h <= height - inside) & (w <= width - inside)
    first = fits.int().argmax(1, keepdim=True)
    h, w = h.gather(1, first)[:, 0], w.gather(1, first)[:, 0]
    place = torch.rand(2, number, generator=generator)
    top, left = (place[0] * (height - h + 1)).long(), (place[1] * (width - w + 1)).long()
    drawn = zip(top.tolist(), left.tolist(), h.tolist(), w.tolist(), fits.any(1).tolist(), strict=True)
    return [(slice(t, t + h), slice(x, x + w)) if found else None for t, x, h, w, found in drawn]


def _channel_exchange(images: Tensor, rows: list[int], generator: Generator) -> None:
    channels = torch.randint(3, (len(rows),), generator=generator).tolist()
    for i, channel in zip(rows, channels, strict=True):
        images[i] = images[i, channel].clone()


def _channel_grey(images: Tensor, rows: list[int], generator: Generator) -> None:
    cases = torch.randint(4, (len(rows),), generator=generator).tolist()
    for i, case in zip(rows, cases, strict=True):
        if case < 3:
            images[i] = images[i, case].clone()
        elif float(torch.rand((), generator=generator)) < 0.5:
            images[i] = F.rgb_to_grayscale(images[i])


#: The transforms that have a form for batches; their order, place and modalities are those of ``TRANSFORMS``.
BATCH_TRANSFORMS: dict[str, Callable[[Settings], BatchTransform]] = {
    "maa": _modality_alignment,
    "random_flip": lambda s: _flip,
    "pad_crop": lambda s: _pad_crop(0),
    "pad_crop_grey": lambda s: _pad_crop(127),
    "random_crop": lambda s: _enlarge_crop,
    "random_erase": lambda s: _erase(s.norm_mean, 0.4, _uniform_aspect, 100),
    "channel_erase": lambda s: _erase((0.4914, 0.4822, 0.4465), 0.4, _uniform_aspect, 100),
    "llcm_erase": lambda s: _erase((0, 0, 0), 0.4, _uniform_aspect, 100),
    "channel_exchange": lambda s: _channel_exchange,
    "channel_grey": lambda s: _channel_grey,
    "random_erase_zero": lambda s: _erase((0, 0, 0), 0.3, _log_uniform_aspect, 10),
}


def _uniform_aspect(u: Tensor) -> Tensor:
    return 0.3 + (1 / 0.3 - 0.3) * u


def _log_uniform_aspect(u: Tensor) -> Tensor:
    return (math.log(0.3) + (math.log(3.3) - math.log(0.3)) * u).exp()
