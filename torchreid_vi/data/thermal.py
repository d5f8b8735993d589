"""Find which numbers of 16-bit and float infrared images are black and white, once for a run."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from torchreid_vi.data.datasets.base import VIDataset
from torchreid_vi.data.images import Range, deep_pixels
from torchreid_vi.modality import Modality

log = logging.getLogger(__name__)

_SAMPLE = 200  # images
_PERCENTILES = (1, 99)
_PIXELS = 5000  # of each


def thermal_range(dataset: VIDataset, asked: Sequence[float] = ()) -> Range | None:
    """Return the range that a dataset's images of more than 8 bits are scaled by; none when there are none.

    It is what is asked for, or the 1st and the 99th percentile over some of the infrared training images, which is
    said. Images that cannot be read are passed over.

    Args:
        dataset: Any visible-infrared dataset.
        asked: ``data.thermal_range``: what is black and what is white, or nothing.
    """
    if asked:
        return Range(*map(float, asked))
    paths = sorted({item[0] for item in dataset.train if dataset.modality(item) is Modality.INFRARED})
    values = []
    for path in paths[:: max(1, -(-len(paths) // _SAMPLE))]:
        pixels = None
        with suppress(Exception):  # whatever a damaged image makes its reader raise; who uses it says so
            pixels = deep_pixels(path)
        if pixels is not None:
            found = pixels[np.isfinite(pixels)].astype(np.float64)
            values.append(found[:: max(1, len(found) // _PIXELS)])
    if not any(map(len, values)):
        return None
    black, white = np.percentile(np.concatenate(values), _PERCENTILES).tolist()
    white = max(white, black + 1e-3 * max(1.0, abs(black)))  # of images of one number
    log.info(
        f"Infrared images of more than 8 bits: {black:g} is black and {white:g} is white, the 1st and the 99th "
        f"percentile of {len(values)} images; data.thermal_range sets other numbers"
    )
    return Range(black, white)
