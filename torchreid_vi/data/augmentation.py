"""Training transforms on batches of 8-bit images, on the device that trains.

A transform samples its random numbers for the whole batch on the CPU and changes the images by a function of them
and of these numbers, so one seed gives one batch on any device. Modality Alignment Augmentation is that of MCJA
(arXiv 2307.08316) and the exchange of channels that of CAJ (ICCV 2021), from their formulas. Transforms without a
form for batches, a user's among them, are called image by image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
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
from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.modality import Modality, moved
from torchreid_vi.seeds import seeded

_CHUNK = 8  # images that are normalised at a time on a CPU, few enough to stay in its cache


class Settings(NamedTuple):
    """What the transforms of a run are built from."""

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
        """Return what the change is to some of the batch's images.

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


class Transform(NamedTuple):
    """A training transform.

    Attributes:
        build: Returns, from a run's settings, what is called with an image; of a ``batched`` transform, what
            samples the changes of a number of images.
        on_tensor: Whether it works on normalised tensors (3, H, W); on Pillow's images otherwise.
        modalities: Those it is for.
        batched: Whether it has a form for batches.
    """

    build: Callable[[Settings], Any]
    on_tensor: bool = False
    modalities: tuple[Modality, ...] = tuple(Modality)
    batched: bool = False


# What samples random numbers


def _half(number: int, generator: Generator) -> Tensor:
    """Return the places (n,) of a number of images, each with probability one half."""
    return (torch.rand(number, generator=generator) < 0.5).nonzero()[:, 0]


def _one_hot(number: int, generator: Generator) -> Tensor:
    """Return one of three channels for each image, as weights (n, 3)."""
    return F.one_hot(torch.randint(3, (number,), generator=generator), 3).float()


def _boxes(
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
        generator: Of random numbers.
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


def _uniform_aspect(u: Tensor) -> Tensor:
    return 0.3 + (1 / 0.3 - 0.3) * u


def _log_uniform_aspect(u: Tensor) -> Tensor:
    return (math.log(0.3) + (math.log(3.3) - math.log(0.3)) * u).exp()


# What changes images (n, 3, H, W)


def _mixed(images: Tensor, numbers: Tensor) -> Tensor:
    """Mix images with their weighted mean of channels; numbers are three weights and the image's share."""
    weights, share = numbers[:, :3, None, None], numbers[:, 3:, None, None]
    pixels = images.float()
    result = torch.lerp((pixels * weights).sum(1, keepdim=True), pixels, share)
    return result if images.is_floating_point() else result.round_().to(images.dtype)


def _hue(images: Tensor, numbers: Tensor) -> Tensor:
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


def _box(images: Tensor, numbers: Tensor) -> Tensor:
    """Return 1.0 for the pixels (n, 1, H, W) in boxes of top, left, height and width (n, 4), and 0.0 outside."""
    top, left, height, width = numbers.T[..., None]
    down = torch.arange(images.shape[2], device=images.device)
    right = torch.arange(images.shape[3], device=images.device)
    rows = ((down >= top) & (down < top + height)).float()
    columns = ((right >= left) & (right < left + width)).float()
    return (rows[:, :, None] * columns[:, None])[:, None]


def _pasted(images: Tensor, numbers: Tensor) -> Tensor:
    """Return one channel with a box of another, in all three places; numbers are both channels and the box."""
    which = torch.arange(len(images), device=images.device)
    background, foreground = (images[which, channel][:, None] for channel in numbers[:, :2].T.long())
    return torch.where(_box(images, numbers[:, 2:]).bool(), foreground, background).repeat(1, 3, 1, 1)


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
    return torch.lerp(images, numbers[:, 4:, None, None], _box(images, numbers[:, :4]))


# The transforms


def _modality_alignment(settings: Settings) -> Sampler:
    """MAA: one of hue jitter, WG, CC and SJ, chosen uniformly, then applied with probability one half.

    - hue turns the hue by up to a fifth of the circle.
    - WG is a grey image with weights sampled uniformly and normalised.
    - CC is a channel with a box of another one, of an area fraction U(0.02, 0.33) and an aspect (height over width)
      exp U(ln 0.3, ln 3.3); after ten boxes that do not fit, the channel alone. For ``cc_published`` the image's
      width and height change places, as in the public code.
    - SJ is f·image + (1 − f)·channel, with f ~ U(0, 1) and a random channel.

    Reference:
        Jiang et al. MCJA. arXiv 2307.08316; the journal version calls this augmentation VIMC.
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
    return torch.cat([_one_hot(number, generator), torch.rand(number, 1, generator=generator)], 1)


def _cutmix(number: int, settings: Settings, generator: Generator, published: bool = False) -> Tensor:
    background = torch.randint(3, (number,), generator=generator)
    foreground = (background + torch.randint(1, 3, (number,), generator=generator)) % 3
    size = (settings.width, settings.height) if published else (settings.height, settings.width)
    box = _boxes(number, size, (0.02, 0.33), _log_uniform_aspect, 10, generator, inside=published)
    return torch.cat([torch.stack([background, foreground], 1), box], 1)


def _angle(number: int, settings: Settings, generator: Generator) -> Tensor:
    return 6 * (0.4 * torch.rand(number, 1, generator=generator) - 0.2)


CC_PUBLISHED = "cc_published"  # in place of cc
#: The branches of MAA in order, each with what changes an image and what samples the numbers for it.
_BRANCHES: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[..., Tensor]]] = {
    "hue": (_hue, _angle),
    "wg": (_mixed, _weights),
    "cc": (_pasted, _cutmix),
    CC_PUBLISHED: (_pasted, partial(_cutmix, published=True)),
    "sj": (_mixed, _jitter),
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


def _flip(settings: Settings) -> Sampler:
    def sample(number: int, generator: Generator) -> Iterator[Change]:
        rows = _half(number, generator)
        yield Change(_mirrored, rows, torch.zeros(len(rows), 0))

    return sample


def _pad_crop(settings: Settings, fill: int) -> Sampler:
    def sample(number: int, generator: Generator) -> Iterator[Change]:
        places = torch.randint(21, (number, 2), generator=generator).float()
        yield Change(partial(_padded_crop, fill=fill), torch.arange(number), places)

    return sample


def _random_crop(settings: Settings) -> Sampler:
    room = torch.tensor([round(side * 1.125) - side for side in (settings.height, settings.width)])

    def sample(number: int, generator: Generator) -> Iterator[Change]:
        rows = _half(number, generator)
        yield Change(_enlarged_crop, rows, (torch.rand(len(rows), 2, generator=generator) * room).round())

    return sample


def _erase(
    settings: Settings,
    colour: Sequence[float],
    largest: float = 0.4,
    aspect: Callable[[Tensor], Tensor] = _uniform_aspect,
    attempts: int = 100,
) -> Sampler:
    def sample(number: int, generator: Generator) -> Iterator[Change]:
        rows = _half(number, generator)
        size = settings.height, settings.width
        boxes = _boxes(len(rows), size, (0.02, largest), aspect, attempts, generator, inside=True)
        yield Change(_erased, rows, torch.cat([boxes, torch.tensor(colour).expand(len(rows), 3)], 1))

    return sample


def _channel_exchange(settings: Settings) -> Sampler:
    """One of the three channels in all three places."""

    def sample(number: int, generator: Generator) -> Iterator[Change]:
        yield Change(_mixed, torch.arange(number), F.pad(_one_hot(number, generator), (0, 1)))

    return sample


def _channel_grey(settings: Settings) -> Sampler:
    """With equal chances one of the three channels in all places, or, half of the time, their grey mix."""
    cases = torch.eye(4, 3)
    cases[3] = torch.tensor([0.2989, 0.587, 0.114])

    def sample(number: int, generator: Generator) -> Iterator[Change]:
        case = torch.randint(4, (number,), generator=generator)
        rows = ((case < 3) | (torch.rand(number, generator=generator) < 0.5)).nonzero()[:, 0]
        yield Change(_mixed, rows, F.pad(cases[case[rows]], (0, 1)))

    return sample


#: Training transforms by the names that ``data.transforms`` uses, in the order in which they apply.
TRANSFORMS: dict[str, Transform] = {
    "maa": Transform(_modality_alignment, modalities=(Modality.VISIBLE,), batched=True),
    "random_flip": Transform(_flip, batched=True),
    # The baselines' crop: 10 pixels of black, then a crop to size; MCJA pads with grey.
    "pad_crop": Transform(partial(_pad_crop, fill=0), batched=True),
    "pad_crop_grey": Transform(partial(_pad_crop, fill=127), batched=True),
    # torchreid's crop: half of the time, enlarge by 1.125, then a crop to size.
    "random_crop": Transform(_random_crop, batched=True),
    # torchreid's patches come from a pool that fills during the run: one that is resumed begins with an empty pool.
    "random_patch": Transform(lambda s: host.transforms.RandomPatch()),
    "color_jitter": Transform(lambda s: tv.ColorJitter(brightness=0.2, contrast=0.15, saturation=0, hue=0)),
    # torchreid's erasing: area 0.02–0.4, aspect 0.3–1/0.3, filled with the mean colour's values.
    "random_erase": Transform(lambda s: _erase(s, s.norm_mean), on_tensor=True, batched=True),
    # CAJ's erasing: torchreid's, filled with the mean colour of CIFAR-10 after normalisation.
    "channel_erase": Transform(
        partial(_erase, colour=(0.4914, 0.4822, 0.4465)), on_tensor=True, batched=True
    ),
    # LLCM's erasing: torchreid's, filled with zero after normalisation.
    "llcm_erase": Transform(partial(_erase, colour=(0, 0, 0)), on_tensor=True, batched=True),
    "channel_exchange": Transform(_channel_exchange, True, (Modality.VISIBLE,), True),
    "channel_grey": Transform(_channel_grey, True, (Modality.INFRARED,), True),
    # MCJA's erasing: area 0.02–0.3, aspect 0.3–3.3, filled with zero after normalisation.
    "random_erase_zero": Transform(
        partial(_erase, colour=(0, 0, 0), largest=0.3, aspect=_log_uniform_aspect, attempts=10),
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


# Image by image


def _one_by_one(call: Callable[[Any], Any], on_tensor: bool) -> Sampler:
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


# The chain


class Plan(NamedTuple):
    """All changes of a batch, of 8-bit images and of normalised ones."""

    on_bytes: list[Change]
    on_tensor: list[Change]

    def of(self, part: Tensor, number: int) -> Plan:
        """Return the plan of some of the batch's images, as :meth:`Change.of` does."""
        own = ((change.of(part, number) for change in changes) for changes in self)
        return Plan(*([change for change in changes if len(change.rows)] for changes in own))


class _Step(NamedTuple):
    sample: Sampler
    modalities: tuple[Modality, ...]
    view: int


class Augmentation:
    """The training transforms of a run.

    Args:
        names: Keys of :data:`TRANSFORMS`.
        settings: Image size, normalisation and MAA's branches.
        second: Those of a second view of each visible image, which follows the first in the batch.

    Attributes:
        on_cpu: Whether 8-bit images have to be changed on the CPU, for a transform without a form for batches.

    Raises:
        InputError: For an unknown name, or a size that no image has.
    """

    def __init__(self, names: Sequence[str], settings: Settings, second: Sequence[str] = ()) -> None:
        self.names = [name.lower() for name in names], [name.lower() for name in second]
        for key, chosen in zip(("transforms", "second_view"), self.names, strict=True):
            for name in chosen:
                if name not in TRANSFORMS:
                    raise unknown_name(f"transform in data.{key}", name, TRANSFORMS)
        if settings.height < 1 or settings.width < 1:
            raise InputError(
                f"data.height {settings.height} and data.width {settings.width} must be at least 1"
            )
        self.settings, self.normalise = settings, Normalise(settings.norm_mean, settings.norm_std)
        self._steps: tuple[list[_Step], list[_Step]] = [], []
        self.on_cpu = False
        for view, chosen in enumerate(self.names):
            for name, transform in TRANSFORMS.items():
                if name in chosen:
                    built = transform.build(settings)
                    sample = built if transform.batched else _one_by_one(built, transform.on_tensor)
                    self._steps[transform.on_tensor].append(_Step(sample, transform.modalities, view))
                    self.on_cpu |= not (transform.batched or transform.on_tensor)

    def __str__(self) -> str:
        first, second = (
            {
                side: ", ".join(n for n, t in TRANSFORMS.items() if n in chosen and side in t.modalities)
                for side in Modality
            }
            for chosen in self.names
        )
        if self.names[1]:
            first[Modality.VISIBLE] += f"; second view {second[Modality.VISIBLE]}"
        return " | ".join(f"{side.name.lower()}: {names or 'none'}" for side, names in first.items())

    def views(self, modality: Tensor) -> tuple[Tensor, Tensor]:
        """Return which image each view of a batch shows (V,) and whether it is that image's second view (V,).

        Args:
            modality: Modality of each image (B,).
        """
        number = 1 + ((modality == Modality.VISIBLE) & bool(self.names[1])).long()
        index = torch.arange(len(modality)).repeat_interleave(number)
        return index, torch.diff(index, prepend=index.new_tensor([-1])).eq(0).long()

    def plan(self, modality: Tensor, view: Tensor, generator: Generator) -> Plan:
        """Sample what becomes of a batch.

        Args:
            modality: Modality of each view (V,).
            view: 0 for the first view of an image, 1 for the second (V,).
            generator: On the CPU.
        """
        made = []
        for steps in self._steps:
            changes = []
            for step in steps:
                chosen = torch.isin(modality, torch.tensor(step.modalities)) & (view == step.view)
                places = chosen.nonzero()[:, 0]
                for change in step.sample(len(places), generator):
                    if len(change.rows):
                        changes.append(change._replace(rows=places[change.rows]))
            made.append(changes)
        return Plan(*made)

    def augment(self, images: Tensor, modality: Sequence[int], seed: int) -> Tensor:
        """Return images as they could be in a batch: changed and normalised, (B, 3, H, W).

        Args:
            images: (B, 3, H, W), uint8, of the size that the settings say; they are left as they are.
            modality: 0 for visible and 1 for infrared images (B,).
            seed: Of what is random.
        """
        sides = torch.tensor([int(side) for side in modality])
        plan = self.plan(sides, torch.zeros_like(sides), Generator().manual_seed(seed))
        return self.change(self.normalise(self.change(images.clone(), plan.on_bytes)), plan.on_tensor)

    def change(self, images: Tensor, changes: Iterable[Change]) -> Tensor:
        """Apply changes to images (V, 3, H, W) in place, on their device."""
        for function, rows, numbers in changes:
            if images.is_cuda:
                images.index_copy_(0, rows, function(images.index_select(0, rows), numbers))
                continue
            for row, own in zip(rows.tolist(), numbers.split(1), strict=True):  # one image stays in the cache
                images[row] = function(images[row : row + 1], own)[0]
        return images


class Normalise:
    """Calling it with 8-bit images (B, 3, H, W) gives them as floats, less each channel's mean, over its deviation.

    Args:
        mean: Of each channel, of values from 0 to 1.
        std: Likewise.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self._values = torch.tensor([mean, std], dtype=torch.float)[:, :, None, None]
        self._copies: dict[torch.device, Tensor] = {}

    def __call__(self, images: Tensor) -> Tensor:
        mean, std = self._on(images.device)
        result = torch.empty(images.shape, device=images.device)
        size = max(1, len(images)) if images.is_cuda else _CHUNK
        for part, out in zip(images.split(size), result.split(size), strict=True):
            out.copy_(part).mul_(1 / (255 * std)).sub_(mean / std)
        return result

    def one_channel(self, images: Tensor, channel: int) -> Tensor:
        """Return normalised images (B, 3, H, W) as they were had one of their channels been in all three places."""
        mean, std = self._on(images.device)
        return (images[:, channel, None] * std[channel] + mean[channel] - mean) / std

    def undo(self, images: Tensor) -> Tensor:
        """Return normalised images (..., 3, H, W) as 8-bit ones."""
        mean, std = self._on(images.device)
        return (255 * (images * std + mean)).round_().clamp_(0, 255).to(torch.uint8)

    def _on(self, device: torch.device) -> Tensor:
        if device not in self._copies:
            self._copies[device] = moved(self._values, device)
        return self._copies[device]
