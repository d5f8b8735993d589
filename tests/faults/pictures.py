"""A picture, and short ways to write pictures and to read datasets."""

import numpy as np
from PIL import Image

from torchreid_vi.data import DATASETS

NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 10, 3), dtype=np.uint8))


def load(name, root):
    return DATASETS[name](root=str(root), verbose=False)


def saved(image, path, **options):
    image.save(path, **options)
    return path
