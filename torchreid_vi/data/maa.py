"""Modality Alignment Augmentation, from its formulas.

Reference:
    Liang et al. MCJA. arXiv 2307.08316; the journal version calls this augmentation VIMC.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Generator, Tensor

from torchreid_vi.data.changes import (
    Change,
    Sampler,
    Settings,
    box_mask,
    boxes,
    log_uniform_aspect,
    mixed,
    one_hot,
)
from torchreid_vi.errors import InputError, unknown_name


def hue(images: Tensor, numbers: Tensor) -> Tensor:
    """Turn the hue by a number of sixths of the circle."""
    pixels = images.float()
    red, green, blue = pixels.unbind(1)
    high, low = pixels.amax(1), pixels.amin(1)
    chroma = high - low
    angle = torch.where(high == green, blue - red, red - green)
    angle = torch.where(high == red, green - blue, angle) / chroma.clamp(min=1)
    angle += torch.where(high == red, 0.0, torch.where(high == green, 2.0, 4.0)) + numbers[:, :, None]
    for channel, place in enumerate((5.0, 3.0, 1.0)):
        k = (angle + place).remainder_(6)
        pixels[:, channel] = high - chroma * torch.minimum(k, 4 - k).clamp_(0, 1)
    return pixels.round_().to(images.dtype)


def _pasted(images: Tensor, numbers: Tensor) -> Tensor:
    """Return one channel with a box of another, in all three places; numbers are both channels and the box."""
    which = torch.arange(len(images), device=images.device)
    background, foreground = (images[which, channel][:, None] for channel in numbers[:, :2].T.long())
    return torch.where(box_mask(images, numbers[:, 2:]).bool(), foreground, background).repeat(1, 3, 1, 1)


def modality_alignment(settings: Settings) -> Sampler:
    """MAA: one of hue jitter, WG, CC and SJ, chosen uniformly, then applied with probability one half.

    - hue turns the hue by up to a fifth of the circle.
    - WG is a grey image with weights sampled uniformly and normalised.
    - CC is a channel with a box of another one, of an area fraction U(0.02, 0.33) and an aspect (height over width)
      exp U(ln 0.3, ln 3.3); after ten boxes that do not fit, the channel alone. For ``cc_published`` the image's
      width and height change places, as in the public code.
    - SJ is f·image + (1 − f)·channel, with f ~ U(0, 1) and a random channel.

    Reference:
        Liang et al. MCJA. arXiv 2307.08316; the journal version calls this augmentation VIMC.
    """
    branches = maa_branches(settings.maa)

    def sample(number: int, generator: Generator) -> Iterator[Change]:
        branch = torch.randint(len(branches), (number,), generator=generator)
        branch[torch.rand(number, generator=generator) < 0.5] = -1
        for i, name in enumerate(branches):
            if name:
                rows = (branch == i).nonzero()[:, 0]
                function, numbers = _BRANCHES[name]
                yield Change(function, rows, numbers(len(rows), settings, generator))

    return sample


def _weights(number: int, settings: Settings, generator: Generator) -> Tensor:
    weights = torch.rand(number, 3, generator=generator)
    return torch.cat([weights / weights.sum(1, keepdim=True), torch.zeros(number, 1)], 1)


def _jitter(number: int, settings: Settings, generator: Generator) -> Tensor:
    return torch.cat([one_hot(number, generator), torch.rand(number, 1, generator=generator)], 1)


def _cutmix(number: int, settings: Settings, generator: Generator, published: bool = False) -> Tensor:
    background = torch.randint(3, (number,), generator=generator)
    foreground = (background + torch.randint(1, 3, (number,), generator=generator)) % 3
    size = (settings.width, settings.height) if published else (settings.height, settings.width)
    box = boxes(number, size, (0.02, 0.33), log_uniform_aspect, 10, generator, inside=published)
    return torch.cat([torch.stack([background, foreground], 1), box], 1)


def _angle(number: int, settings: Settings, generator: Generator) -> Tensor:
    return 6 * (0.4 * torch.rand(number, 1, generator=generator) - 0.2)


CC_PUBLISHED = "cc_published"  # in place of cc
#: The branches of MAA in order, each with what changes an image and what samples the numbers for it.
_BRANCHES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[..., Tensor]]] = {
    "hue": (hue, _angle),
    "wg": (mixed, _weights),
    "cc": (_pasted, _cutmix),
    CC_PUBLISHED: (_pasted, partial(_cutmix, published=True)),
    "sj": (mixed, _jitter),
}
MAA = tuple(name for name in _BRANCHES if name != CC_PUBLISHED)


def maa_branches(names: Sequence[str]) -> tuple[str, ...]:
    """Return the branches of MAA in order, with "" for one that is off.

    Args:
        names: The branches that are on; ``cc_published`` stands for ``cc`` as the public code has it.

    Raises:
        InputError: For an unknown name, or both forms of CC.
    """
    for name in names:
        if name not in _BRANCHES:
            raise unknown_name("branch in data.maa", name, _BRANCHES)
    if "cc" in names and CC_PUBLISHED in names:
        raise InputError(f"data.maa has cc and {CC_PUBLISHED}, two forms of one branch: name one of them")
    on = [CC_PUBLISHED if name == "cc" and CC_PUBLISHED in names else name for name in MAA]
    return tuple(name if name in names else "" for name in on)
