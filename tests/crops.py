"""Measures of whether the heads of the crops on a picture are hidden."""

import numpy as np


def tiles(picture):
    """Return the crops (N, 160, 64, 3) on a ranked picture, without places that are left empty."""
    pixels = np.asarray(picture.convert("RGB")).astype(float)
    found = [
        pixels[top + 4 : top + 164, left + 4 : left + 68]
        for top in range(0, pixels.shape[0], 192)
        for left in [0, *range(88, pixels.shape[1] - 71, 80)]
        if pixels[top + 1, left + 1].min() < 220  # a frame
    ]
    return np.stack(found)


def spread(crops):
    """Return how far the pixels of each crop's top are from the mean of their cell of 16 × 16 pixels (N)."""
    cells = crops[:, :48].reshape(len(crops), 3, 16, 4, 16, 3)
    return (cells - cells.mean((2, 4), keepdims=True)).std((1, 2, 3, 4, 5))
