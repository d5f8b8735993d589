"""Draw some people of a dataset in rows, visible images on the left and infrared ones on the right."""

from __future__ import annotations

import random

from PIL import Image

from torchreid_vi.data.datasets.base import VIDataset
from torchreid_vi.modality import Modality
from torchreid_vi.report.ranked import hide_head

_GAP = 8  # pixels between the modalities


def contact_sheet(
    dataset: VIDataset,
    ids: int = 6,
    images: int = 5,
    size: tuple[int, int] = (64, 160),
    seed: int = 0,
    blurred: bool = False,
) -> Image.Image:
    """Draw ``ids`` training identities, up to ``images`` of each in each modality.

    Args:
        dataset: Any visible-infrared dataset.
        ids: Number of rows.
        images: Number of columns of each modality.
        size: Width and height of each image, in pixels.
        seed: Random seed.
        blurred: Whether heads are hidden.
    """
    rng, (width, height) = random.Random(seed), size
    paths: dict[int, tuple[list[str], list[str]]] = {}
    for item in dataset.train:
        paths.setdefault(item[1], ([], []))[dataset.modality(item)].append(item[0])
    chosen = rng.sample(sorted(paths), min(ids, len(paths)))
    sheet = Image.new("RGB", (2 * images * width + _GAP, len(chosen) * height), "white")
    for row, pid in enumerate(chosen):
        for modality in Modality:
            own, left = paths[pid][modality], modality * (images * width + _GAP)
            for column, path in enumerate(rng.sample(own, min(images, len(own)))):
                image = dataset.image(path).resize(size)
                sheet.paste(hide_head(image) if blurred else image, (left + column * width, row * height))
    return sheet
