"""The training transforms written out for one image, as an oracle: our own from their formulas, and torchreid's."""

import math
import random

import numpy as np
from PIL import Image
from torchvision import transforms as tv

from torchreid_vi import host
from torchreid_vi.modality import Modality


def weighted_grayscale(image):
    weights = np.array([random.random() for _ in range(3)])
    return repeated(np.rint(np.asarray(image, float) @ (weights / weights.sum())))


def cross_channel_cutmix(image, published=False):
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
            top = random.randint(0, rows + published - h)
            left = random.randint(0, columns + published - w)
            result[top : top + h, left : left + w] = pixels[top : top + h, left : left + w, foreground]
            break
    return repeated(result)


def spectrum_jitter(image):
    factor, channel = random.random(), random.randrange(3)
    pixels = np.asarray(image, float)
    mixed = factor * pixels + (1 - factor) * pixels[..., channel, None]
    return Image.fromarray(np.rint(mixed).astype(np.uint8))


def repeated(grey):
    return Image.fromarray(np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2))


BRANCHES = {
    "hue": tv.ColorJitter(hue=0.2),
    "wg": weighted_grayscale,
    "cc": cross_channel_cutmix,
    "sj": spectrum_jitter,
}


def modality_alignment(image):
    branch = BRANCHES[random.choice(list(BRANCHES))]
    return branch(image) if random.random() < 0.5 else image


def random_tone(image):
    if random.random() >= 0.8:
        return image
    weights = -np.log([1 - random.random() for _ in range(3)])  # whose shares are uniform on the simplex
    levels = [random.uniform(0, 255) for _ in range(5)]
    grey = np.asarray(image, float) @ (weights / weights.sum())
    return repeated(np.rint(np.interp(grey, np.linspace(0, 255, 5), levels)))


def channel_exchange(image):
    return image[random.randrange(3)].expand_as(image).clone()


def channel_grey(image):
    case = random.randrange(4)
    if case < 3:
        return image[case].expand_as(image).clone()
    return tv.functional.rgb_to_grayscale(image, 3) if random.random() < 0.5 else image


def erase(colour):
    return host.transforms.RandomErasing(mean=colour)


def transform(name, height, width, mean, modality):
    """Return the transform called ``name``, and whether it takes a normalised tensor."""
    on_image = {
        "maa": modality_alignment,
        "random_tone": random_tone,
        "random_flip": tv.RandomHorizontalFlip(),
        "pad_crop": tv.RandomCrop((height, width), padding=10),
        "pad_crop_grey": tv.RandomCrop((height, width), padding=10, fill=127),
        "random_crop": host.transforms.Random2DTranslation(height, width),
        "random_grey": tv.RandomGrayscale(0.5),
    }
    on_tensor = {
        "random_erase": erase(mean),
        "channel_erase": erase([0.4914, 0.4822, 0.4465]),
        "llcm_erase": erase([0.0, 0.0, 0.0]),
        "deen_erase": host.transforms.RandomErasing(mean=mean, sl=0.2, sh=0.8),
        "random_erase_zero": tv.RandomErasing(scale=(0.02, 0.3), value=0),
        "channel_exchange": channel_exchange,
        "channel_grey": channel_grey,
    }
    others = {
        "maa": Modality.INFRARED,
        "channel_exchange": Modality.INFRARED,
        "channel_grey": Modality.VISIBLE,
    }
    if others.get(name) is modality:
        return (lambda image: image), False
    return (on_image[name], False) if name in on_image else (on_tensor[name], True)
