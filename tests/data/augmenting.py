"""Pictures, and their augmentation in batches, for the tests of transforms."""

import numpy as np
from PIL import Image
from torchvision.transforms import functional as F

from torchreid_vi.data.augmentation import Augmentation
from torchreid_vi.data.changes import Settings
from torchreid_vi.modality import Modality

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SETTINGS = Settings(48, 24, MEAN, STD)
RAW = ((0, 0, 0), (1, 1, 1))


def picture():
    """Return a picture whose colours change smoothly from place to place."""
    y, x = np.mgrid[: SETTINGS.height, : SETTINGS.width]
    waves = [128 + 90 * np.sin(a * y + b * x) for a, b in ((0.11, 0.2), (0.07, -0.31), (-0.15, 0.12))]
    return Image.fromarray(np.rint(np.stack(waves, -1)).astype(np.uint8))


def flat(height, width, colour):
    return Image.new("RGB", (width, height), colour)


def changed(names, image, number, modality=Modality.VISIBLE, settings=None, seed=11):
    """Augment a number of copies of an image; return them normalised."""
    settings = settings or Settings(image.height, image.width, MEAN, STD)
    augment = Augmentation(names, settings)
    images = F.pil_to_tensor(image).repeat(number, 1, 1, 1)
    return augment.augment(images, [modality] * number, seed)
