"""A dataset at a glance: some people in rows, visible images on the left and infrared ones on the right."""

from __future__ import annotations

import random
from collections import defaultdict

from PIL import Image

from torchreid_vi.data.datasets.base import VIDataset
from torchreid_vi.modality import Modality
from torchreid_vi.report.heads import hide_head

_GAP = 8  # pixels between the modalities


def contact_sheet(
    dataset: VIDataset,
    ids: int = 6,
    images: int = 5,
    size: tuple[int, int] = (64, 160),
    seed: int = 0,
    blurred: bool = False,
) -> Image.Image:
    """A picture of ``ids`` training identities, up to ``images`` of each in each modality.

    Args:
        dataset: any visible-infrared dataset.
        ids: rows.
        images: columns of each modality.
        size: of each image on the sheet, (width, height) in pixels.
        seed: of the choice.
        blurred: whether heads are hidden.
    """
    rng = random.Random(seed)
    paths: dict[int, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for item in dataset.train:
        paths[item[1]][dataset.modality(item)].append(item[0])
    chosen = rng.sample(sorted(paths), min(ids, len(paths)))
    width, height = size
    sheet = Image.new("RGB", (2 * images * width + _GAP, len(chosen) * height), "white")
    for row, pid in enumerate(chosen):
        for modality in Modality:
            left = modality * (images * width + _GAP)
            shown = rng.sample(paths[pid][modality], min(images, len(paths[pid][modality])))
            for column, path in enumerate(shown):
                image = dataset.image(path).resize(size)
                sheet.paste(hide_head(image) if blurred else image, (left + column * width, row * height))
    return sheet
