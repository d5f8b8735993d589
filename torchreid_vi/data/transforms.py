"""Training transforms by name; those without a form for batches, a user's among them, are called image by image.

The exchange of channels is that of CAJ (ICCV 2021), from its formulas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor
from torch.nn import functional as F
from torchvision import transforms as tv
from torchvision.transforms import functional as tvf

from torchreid_vi import host
from torchreid_vi.data.changes import (
    Change,
    Sampler,
    Settings,
    box_mask,
    boxes,
    half,
    log_uniform_aspect,
    mixed,
    one_hot,
    uniform_aspect,
)
from torchreid_vi.data.maa import modality_alignment
from torchreid_vi.data.tone import random_tone
from torchreid_vi.modality import Modality
from torchreid_vi.seeds import seeded


class Transform(NamedTuple):
    """A training transform.

    Attributes:
        build: Returns, from a run's settings, what is called with an image; of a ``batched`` transform, what
            samples the changes of a number of images.
        on_tensor: Whether it works on normalised tensors (3, H, W); on Pillow's images otherwise.
        modalities: Modalities that it applies to.
        batched: Whether it has a form for batches.
    """

    build: Callable[[Settings], Any]
    on_tensor: bool = False
    modalities: tuple[Modality, ...] = tuple(Modality)
    batched: bool = False


def _mirrored(images: Tensor, numbers: Tensor) -> Tensor:
    return images.flip(-1)


def _cropped(images: Tensor, numbers: Tensor, height: int, width: int) -> Tensor:
    """Return the windows (n, 3, height, width) of larger images that begin at top and left (n, 2)."""
    if images.is_cuda:
        windows = images.unfold(2, height, 1).unfold(3, width, 1)
        top, left = numbers.T.long()
        return windows[torch.arange(len(images), device=images.device), :, top, left]
    places = zip(images, numbers.long().tolist(), strict=True)
    return torch.stack([image[:, top : top + height, left : left + width] for image, (top, left) in places])


def _padded_crop(images: Tensor, numbers: Tensor, fill: int) -> Tensor:
    return _cropped(F.pad(images, (10,) * 4, value=fill), numbers, *images.shape[2:])


def _enlarged_crop(images: Tensor, numbers: Tensor) -> Tensor:
    height, width = images.shape[2:]
    larger = tvf.resize(images, [round(height * 1.125), round(width * 1.125)], antialias=True)
    return _cropped(larger, numbers, height, width)


def _erased(images: Tensor, numbers: Tensor) -> Tensor:
    """Fill boxes; numbers are the box and the colour of each image."""
    return torch.lerp(images, numbers[:, 4:, None, None], box_mask(images, numbers[:, :4]))


def flip(settings: Settings) -> Sampler:
    def sample(number: int, generator: Generator) -> Iterator[Change]:
        rows = half(number, generator)
        yield Change(_mirrored, rows, torch.zeros(len(rows), 0))

    return sample


def pad_crop(settings: Settings, fill: int) -> Sampler:
    def sample(number: int, generator: Generator) -> Iterator[Change]:
        places = torch.randint(21, (number, 2), generator=generator).float()
        yield Change(partial(_padded_crop, fill=fill), torch.arange(number), places)

    return sample


def random_crop(settings: Settings) -> Sampler:
    room = torch.tensor([round(side * 1.125) - side for side in (settings.height, settings.width)])

    def sample(number: int, generator: Generator) -> Iterator[Change]:
        rows = half(number, generator)
        yield Change(_enlarged_crop, rows, (torch.rand(len(rows), 2, generator=generator) * room).round())

    return sample


def erase(
    settings: Settings,
    colour: Sequence[float],
    smallest: float = 0.02,
    largest: float = 0.4,
    aspect: Callable[[Tensor], Tensor] = uniform_aspect,
    attempts: int = 100,
) -> Sampler:
    def sample(number: int, generator: Generator) -> Iterator[Change]:
        rows = half(number, generator)
        size = settings.height, settings.width
        found = boxes(len(rows), size, (smallest, largest), aspect, attempts, generator, inside=True)
        yield Change(_erased, rows, torch.cat([found, torch.tensor(colour).expand(len(rows), 3)], 1))

    return sample


def channel_exchange(settings: Settings) -> Sampler:
    """One of the three channels in all three places."""

    def sample(number: int, generator: Generator) -> Iterator[Change]:
        yield Change(mixed, torch.arange(number), F.pad(one_hot(number, generator), (0, 1)))

    return sample


def channel_grey(settings: Settings) -> Sampler:
    """With equal chances one of the three channels in all places, or, half of the time, their grey mix."""
    cases = torch.eye(4, 3)
    cases[3] = torch.tensor([0.2989, 0.587, 0.114])

    def sample(number: int, generator: Generator) -> Iterator[Change]:
        case = torch.randint(4, (number,), generator=generator)
        rows = ((case < 3) | (torch.rand(number, generator=generator) < 0.5)).nonzero()[:, 0]
        yield Change(mixed, rows, F.pad(cases[case[rows]], (0, 1)))

    return sample


#: Training transforms by the names that ``data.transforms`` uses, in the order in which they apply.
TRANSFORMS: dict[str, Transform] = {
    "maa": Transform(modality_alignment, modalities=(Modality.VISIBLE,), batched=True),
    "random_tone": Transform(random_tone, batched=True),
    "random_flip": Transform(flip, batched=True),
    # The baselines' crop: 10 pixels of black, then a crop to size; MCJA pads with grey.
    "pad_crop": Transform(partial(pad_crop, fill=0), batched=True),
    "pad_crop_grey": Transform(partial(pad_crop, fill=127), batched=True),
    # torchreid's crop: half of the time, enlarge by 1.125, then a crop to size.
    "random_crop": Transform(random_crop, batched=True),
    # torchreid's patches come from a pool that fills during the run: one that is resumed begins with an empty pool.
    "random_patch": Transform(lambda s: host.transforms.RandomPatch()),
    "color_jitter": Transform(lambda s: tv.ColorJitter(brightness=0.2, contrast=0.15, saturation=0, hue=0)),
    # torchreid's erasing: area 0.02–0.4, aspect 0.3–1/0.3, filled with the mean colour's values.
    "random_erase": Transform(lambda s: erase(s, s.norm_mean), on_tensor=True, batched=True),
    # CAJ's erasing: torchreid's, filled with the mean colour of CIFAR-10 after normalisation.
    "channel_erase": Transform(partial(erase, colour=(0.4914, 0.4822, 0.4465)), on_tensor=True, batched=True),
    # LLCM's erasing: torchreid's, filled with zero after normalisation.
    "llcm_erase": Transform(partial(erase, colour=(0, 0, 0)), on_tensor=True, batched=True),
    "channel_exchange": Transform(channel_exchange, True, (Modality.VISIBLE,), True),
    "channel_grey": Transform(channel_grey, True, (Modality.INFRARED,), True),
    # MCJA's erasing: area 0.02–0.3, aspect 0.3–3.3, filled with zero after normalisation.
    "random_erase_zero": Transform(
        partial(erase, colour=(0, 0, 0), largest=0.3, aspect=log_uniform_aspect, attempts=10),
        True,
        batched=True,
    ),
}


def register_transform(name: str, build: Callable[[Settings], Any], **options: Any) -> None:
    """Add a transform, which applies after those that are there.

    Args:
        name: What ``data.transforms`` calls it.
        build: Returns, from a run's settings, what is called with an image.
        **options: ``on_tensor``, ``modalities`` and ``batched`` of :class:`Transform`.
    """
    TRANSFORMS[name] = Transform(build, **options)


def one_by_one(call: Callable[[Any], Any], on_tensor: bool) -> Sampler:
    def change(images: Tensor, numbers: Tensor) -> Tensor:
        changed = []
        for image, seed in zip(images, numbers[:, 0].long().tolist(), strict=True):
            with seeded("image", seed):
                if on_tensor:
                    changed.append(call(image))
                else:
                    pixels = np.array(call(Image.fromarray(image.permute(1, 2, 0).numpy())))
                    changed.append(torch.from_numpy(pixels).permute(2, 0, 1))
        return torch.stack(changed)

    def sample(number: int, generator: Generator) -> Iterator[Change]:
        seeds = torch.randint(2**24, (number, 1), generator=generator)
        yield Change(change, torch.arange(number), seeds.float())

    return sample
