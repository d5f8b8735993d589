"""Changes of whole batches of images, and the random numbers and functions that they are made of.

A transform samples its random numbers for the whole batch on the CPU. A deterministic function then applies them on
any device, so one seed gives one batch everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional as F


class Settings(NamedTuple):
    """Settings of the transforms of a run."""

    height: int
    width: int
    norm_mean: Sequence[float]
    norm_std: Sequence[float]
    maa: Sequence[str] = ("hue", "wg", "cc", "sj")
    interpolation: str = "bilinear"


class Change(NamedTuple):
    """A change of some images of a batch.

    Attributes:
        function: Maps images (n, 3, H, W) and numbers (n, p) to images of the same shape and type.
        rows: Places of the images in the batch, ascending (n,).
        numbers: Random numbers of each image (n, p).
    """

    function: Callable[[Tensor, Tensor], Tensor]
    rows: Tensor
    numbers: Tensor

    def of(self, part: Tensor, number: int) -> Change:
        """Return the change of some of the batch's images.

        Args:
            part: Places of these images in the batch (m,).
            number: Images in the batch.
        """
        place = torch.full((number,), -1)
        place[part] = torch.arange(len(part))
        rows = place[self.rows]
        kept = rows >= 0
        return Change(self.function, rows[kept], self.numbers[kept])


Sampler = Callable[[int, Generator], Iterable[Change]]  # of the changes of a number of images


# Random numbers


def half(number: int, generator: Generator) -> Tensor:
    """Return the places (n,) of a number of images, each with probability one half."""
    return (torch.rand(number, generator=generator) < 0.5).nonzero()[:, 0]


def one_hot(number: int, generator: Generator) -> Tensor:
    """Return one of three channels for each image, as weights (n, 3)."""
    return F.one_hot(torch.randint(3, (number,), generator=generator), 3).float()


def boxes(
    number: int,
    size: tuple[int, int],
    area: tuple[float, float],
    aspect: Callable[[Tensor], Tensor],
    attempts: int,
    generator: Generator,
    inside: bool = False,
) -> Tensor:
    """Return for each image the first of some random boxes that fits: top, left, height and width (n, 4).

    The height is 0 where none fits.

    Args:
        number: Images.
        size: Height and width of an image.
        area: Bounds of the share of the image.
        aspect: Maps uniform numbers to height over width.
        attempts: Boxes sampled for each image.
        generator: Generator of random numbers.
        inside: Whether a box has to be smaller than the image on both sides.
    """
    (height, width), (least, most) = size, area
    sizes = height * width * (least + (most - least) * torch.rand(number, attempts, generator=generator))
    aspects = aspect(torch.rand(number, attempts, generator=generator))
    h, w = (sizes * aspects).sqrt().round(), (sizes / aspects).sqrt().round()
    fits = (h <= height - inside) & (w <= width - inside)
    first = fits.int().argmax(1, keepdim=True)
    h, w = h.gather(1, first)[:, 0], w.gather(1, first)[:, 0]
    place = torch.rand(2, number, generator=generator)
    top, left = (place[0] * (height - h + 1)).floor(), (place[1] * (width - w + 1)).floor()
    return torch.stack([top, left, h * fits.any(1), w], 1)


def uniform_aspect(u: Tensor) -> Tensor:
    return 0.3 + (1 / 0.3 - 0.3) * u


def log_uniform_aspect(u: Tensor) -> Tensor:
    return (math.log(0.3) + (math.log(3.3) - math.log(0.3)) * u).exp()


# Functions of images (n, 3, H, W)


def mixed(images: Tensor, numbers: Tensor) -> Tensor:
    """Mix images with their weighted mean of channels; numbers are three weights and the image's share."""
    weights, share = numbers[:, :3, None, None], numbers[:, 3:, None, None]
    pixels = images.float()
    result = torch.lerp((pixels * weights).sum(1, keepdim=True), pixels, share)
    return result if images.is_floating_point() else result.round_().to(images.dtype)


def box_mask(images: Tensor, numbers: Tensor) -> Tensor:
    """Return 1.0 for the pixels (n, 1, H, W) in boxes of top, left, height and width (n, 4), and 0.0 outside."""
    top, left, height, width = numbers.T[..., None]
    down = torch.arange(images.shape[2], device=images.device)
    right = torch.arange(images.shape[3], device=images.device)
    rows = ((down >= top) & (down < top + height)).float()
    columns = ((right >= left) & (right < left + width)).float()
    return (rows[:, :, None] * columns[:, None])[:, None]
