"""Training transforms by name: torchreid's own, and what visible-infrared training adds to them.

The order in which they apply is that of :data:`TRANSFORMS`, whatever the order they are named in, as in
torchreid. Modality Alignment Augmentation is that of MCJA (arXiv 2307.08316) and the exchange of channels
that of CAJ (ICCV 2021), from their formulas.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor
from torchvision import transforms as tv

from torchreid_vi import host
from torchreid_vi.data.images import resizer
from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.modality import Modality

Transform = Callable[[Any], Any]


class ModalityTransform(NamedTuple):
    """A transform for each modality; ``transform[modality]`` is the one to apply."""

    visible: Transform
    infrared: Transform


# Modality Alignment Augmentation: RGB image → RGB image


def weighted_grayscale(image: Image.Image) -> Image.Image:
    """WG: a grey image with weights drawn uniformly and normalised, in all three channels."""
    weights = np.array([random.random() for _ in range(3)])
    grey = np.asarray(image, dtype=np.float64) @ (weights / weights.sum())
    return _repeated(np.rint(grey).astype(np.uint8))


def cross_channel_cutmix(image: Image.Image, published: bool = False) -> Image.Image:
    """CC: one channel with a box taken from another, in all three channels.

    The box has an area fraction U(0.02, 0.33) and an aspect (height over width) exp U(ln 0.3, ln 3.3);
    after ten boxes that do not fit, the background channel is returned alone.

    Args:
        image: In RGB.
        published: Do as the public code, which takes the width for the height and the height for the width:
            its boxes begin no lower than the width allows, and what lies right of the image is lost.
    """
    background, foreground = random.sample(range(3), 2)
    pixels = np.asarray(image)
    height, width = pixels.shape[:2]
    result = pixels[..., background].copy()
    rows, columns = (width - 1, height - 1) if published else (height, width)
    for _ in range(10):
        area = random.uniform(0.02, 0.33) * height * width
        aspect = math.exp(random.uniform(math.log(0.3), math.log(3.3)))
        h, w = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if h <= rows and w <= columns:
            top, left = (
                random.randint(0, side + published - length) for side, length in ((rows, h), (columns, w))
            )
            box = slice(top, top + h), slice(left, left + w)
            result[box] = pixels[(*box, foreground)]
            break
    return _repeated(result)


def spectrum_jitter(image: Image.Image) -> Image.Image:
    """SJ: f·image + (1 − f)·channel, with f ~ U(0, 1) and a random channel in all three places."""
    factor, channel = random.random(), random.randrange(3)
    pixels = np.asarray(image, dtype=np.float64)
    mixed = factor * pixels + (1 - factor) * pixels[..., channel : channel + 1]
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def _repeated(grey: np.ndarray) -> Image.Image:
    return Image.fromarray(np.repeat(grey[..., None], 3, axis=2))


MAA: dict[str, Transform] = {
    "hue": tv.ColorJitter(hue=0.2),
    "wg": weighted_grayscale,
    "cc": cross_channel_cutmix,
    "sj": spectrum_jitter,
}
CC_PUBLISHED = "cc_published"  # in place of cc
_BRANCHES = MAA | {CC_PUBLISHED: partial(cross_channel_cutmix, published=True)}


def maa_branches(names: Sequence[str]) -> tuple[str, ...]:
    """Return the branches of MAA in order, with "" for one that is off.

    Args:
        names: The branches that are on; ``cc_published`` stands for ``cc`` as the public code has it.

    Raises:
        InputError: For an unknown name, or both forms of CC.
    """
    for name in names:
        if name not in (known := (*MAA, CC_PUBLISHED)):
            raise unknown_name("branch in data.maa", name, known)
    if "cc" in names and CC_PUBLISHED in names:
        raise InputError(f"data.maa has cc and {CC_PUBLISHED}, two forms of one branch: name one of them")
    on = [CC_PUBLISHED if name == "cc" and CC_PUBLISHED in names else name for name in MAA]
    return tuple(name if name in names else "" for name in on)


class ModalityAlignment:
    """MAA: one of hue jitter, WG, CC and SJ, chosen uniformly, then applied with probability one half.

    Args:
        branches: Those that are on; one that is off does nothing when it is chosen.

    Reference:
        Jiang et al. MCJA. arXiv 2307.08316; the journal version calls this augmentation VIMC.
    """

    def __init__(self, branches: Sequence[str] = tuple(MAA)) -> None:
        self.branches = maa_branches(branches)

    def __call__(self, image: Image.Image) -> Image.Image:
        name = random.choice(self.branches)
        if random.random() < 0.5 and name:
            return _BRANCHES[name](image)
        return image

    def __repr__(self) -> str:
        return f"ModalityAlignment({', '.join(filter(None, self.branches))})"


# Channel exchange: normalised tensor (3, H, W) → the same shape


def channel_exchange(image: Tensor) -> Tensor:
    """One of the three channels, drawn uniformly, in all three places."""
    return image[random.randrange(3)].expand_as(image).clone()


def channel_grey(image: Tensor) -> Tensor:
    """With equal chances one of the three channels in all places, or, half of the time, their grey mix."""
    case = random.randrange(4)
    if case < 3:
        return image[case].expand_as(image).clone()
    if random.random() < 0.5:
        return tv.functional.rgb_to_grayscale(image, num_output_channels=3).clone()
    return image


# The chain


class Settings(NamedTuple):
    """What the transforms of a run are built from."""

    height: int
    width: int
    norm_mean: Sequence[float]
    norm_std: Sequence[float]
    maa: Sequence[str] = tuple(MAA)
    interpolation: str = "bilinear"


class Step(NamedTuple):
    """One named transform: how it is built, on what (image or tensor) and for which modalities."""

    build: Callable[[Settings], Transform]
    on_tensor: bool = False
    modalities: tuple[Modality, ...] = tuple(Modality)


#: Training transforms by the names that ``data.transforms`` uses, in the order in which they apply.
TRANSFORMS: dict[str, Step] = {
    "maa": Step(lambda s: ModalityAlignment(s.maa), modalities=(Modality.VISIBLE,)),
    "random_flip": Step(lambda s: tv.RandomHorizontalFlip()),
    # The baselines' crop: 10 pixels of black, then a crop to size; MCJA pads with grey.
    "pad_crop": Step(lambda s: tv.RandomCrop((s.height, s.width), padding=10)),
    "pad_crop_grey": Step(lambda s: tv.RandomCrop((s.height, s.width), padding=10, fill=127)),
    # torchreid's crop: enlarge by 1.125, then a crop to size.
    "random_crop": Step(lambda s: host.transforms.Random2DTranslation(s.height, s.width)),
    # torchreid's patches come from a pool that each loading process fills for itself, so with this
    # transform alone a run repeats only with the same data.workers.
    "random_patch": Step(lambda s: host.transforms.RandomPatch()),
    "color_jitter": Step(lambda s: tv.ColorJitter(brightness=0.2, contrast=0.15, saturation=0, hue=0)),
    # torchreid's erasing: area 0.02–0.4, aspect 0.3–1/0.3, filled with the mean colour's values.
    "random_erase": Step(lambda s: host.transforms.RandomErasing(mean=s.norm_mean), on_tensor=True),
    # CAJ's erasing: torchreid's, filled with the mean colour of CIFAR-10 after normalisation.
    "channel_erase": Step(
        lambda s: host.transforms.RandomErasing(mean=[0.4914, 0.4822, 0.4465]), on_tensor=True
    ),
    # LLCM's erasing: torchreid's, filled with zero after normalisation.
    "llcm_erase": Step(lambda s: host.transforms.RandomErasing(mean=[0.0, 0.0, 0.0]), on_tensor=True),
    "channel_exchange": Step(lambda s: channel_exchange, on_tensor=True, modalities=(Modality.VISIBLE,)),
    "channel_grey": Step(lambda s: channel_grey, on_tensor=True, modalities=(Modality.INFRARED,)),
    # MCJA's erasing: area 0.02–0.3, aspect 0.3–3.3, filled with zero after normalisation.
    "random_erase_zero": Step(lambda s: tv.RandomErasing(scale=(0.02, 0.3), value=0), on_tensor=True),
}


class Views:
    """Several views of an image, each by a transform of its own, as a list."""

    def __init__(self, *transforms: Transform) -> None:
        self.transforms = transforms

    def __call__(self, image: Image.Image) -> list[Any]:
        return [transform(image) for transform in self.transforms]

    def __repr__(self) -> str:
        return f"Views({', '.join(map(repr, self.transforms))})"


def check_names(
    names: Sequence[str], settings: Settings, second: Sequence[str]
) -> tuple[list[str], list[str]]:
    """The names of transforms in lower case, those of a first and of a second view.

    Raises:
        InputError: for an unknown name, or a size that no image has.
    """
    lower = [name.lower() for name in names], [name.lower() for name in second]
    for key, chosen in zip(("transforms", "second_view"), lower, strict=True):
        for name in chosen:
            if name not in TRANSFORMS:
                raise unknown_name(f"transform in data.{key}", name, TRANSFORMS)
    if settings.height < 1 or settings.width < 1:
        raise InputError(f"data.height {settings.height} and data.width {settings.width} must be at least 1")
    return lower


def build_train_transform(
    names: Sequence[str], settings: Settings, second: Sequence[str] = ()
) -> ModalityTransform:
    """The training transform of each modality.

    Args:
        names: keys of :data:`TRANSFORMS`.
        settings: image size, normalisation and MAA's branches.
        second: those of a second view of each visible image. With any, the transforms return lists of
            views: two of a visible image and one of an infrared one.

    Raises:
        InputError: for an unknown name.
    """
    names, second = check_names(names, settings, second)

    def chain(modality: Modality, names: Sequence[str]) -> Transform:
        chosen = [s for n, s in TRANSFORMS.items() if n in names and modality in s.modalities]
        on_image = [step.build(settings) for step in chosen if not step.on_tensor]
        on_tensor = [step.build(settings) for step in chosen if step.on_tensor]
        resize = resizer(settings.height, settings.width, settings.interpolation)
        normalise = tv.Normalize(settings.norm_mean, settings.norm_std)
        return tv.Compose([resize, *on_image, tv.ToTensor(), normalise, *on_tensor])

    visible, infrared = (chain(modality, names) for modality in Modality)
    if second:
        return ModalityTransform(Views(visible, chain(Modality.VISIBLE, second)), Views(infrared))
    return ModalityTransform(visible, infrared)
