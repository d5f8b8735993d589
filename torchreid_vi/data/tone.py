"""Random tones: brightness says nothing of who somebody is. Ours.

What a garment reflects in infrared is independent of its colour. A network that tells people apart by how bright
their clothes are therefore learns what does not carry over to the other camera. Under a random curve of brightness
only edges remain: shapes, patterns, what is carried.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from torchreid_vi.data.changes import Change, Sampler, Settings

_KNOTS = 5  # of a curve; they lie 64 levels apart
_SHARE = 0.8  # of the images that are changed


def toned(images: Tensor, numbers: Tensor) -> Tensor:
    """Mix the channels to grey, and map its levels by a curve; numbers are the weights and the curve's knots."""
    weights, knots = numbers[:, :3, None, None], numbers[:, 3:]
    place = (images.float() * weights).sum(1).flatten(1) * ((_KNOTS - 1) / 255)
    below = place.long().clamp(max=_KNOTS - 2)
    levels = torch.lerp(knots.gather(1, below), knots.gather(1, below + 1), place - below)
    return levels.round_().to(images.dtype).view_as(images[:, :1]).repeat(1, 3, 1, 1)


def random_tone(settings: Settings) -> Sampler:
    """Four images in five in grey, through a random curve of brightness.

    The weights of the channels are uniform among those that sum to one. The curve is linear between five levels, at
    0, 64, 128, 191 and 255, which are each uniform from 0 to 255: it may also invert.
    """

    def sample(number: int, generator: Generator) -> Iterator[Change]:
        rows = (torch.rand(number, generator=generator) < _SHARE).nonzero()[:, 0]
        weights = torch.empty(len(rows), 3).exponential_(generator=generator)
        knots = 255 * torch.rand(len(rows), _KNOTS, generator=generator)
        yield Change(toned, rows, torch.cat([weights / weights.sum(1, keepdim=True), knots], 1))

    return sample
