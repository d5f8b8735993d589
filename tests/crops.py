"""Measures of whether the heads of the crops on a picture are hidden."""

import numpy as np


def tiles(picture, width=64, height=160, lines=1):
    """Return the crops (N, height, width, 3) on a ranked picture, without places that are left empty."""
    row, column = height + 8 + 16 * lines + 8, width + 8 + 8
    pixels = np.asarray(picture.convert("RGB")).astype(float)
    found = [
        pixels[top + 4 : top + 4 + height, left + 4 : left + 4 + width]
        for top in range(0, pixels.shape[0], row)
        for left in [0, *range(column + 8, pixels.shape[1] - width - 7, column)]
        if pixels[top + 1, left + 1].min() < 220  # a frame
    ]
    return np.stack(found)


def spread(crops):
    """Return how far the pixels of each crop's top are from the mean of their cell, of 3 × 4 cells (N)."""
    cell = crops.shape[2] // 4
    cells = crops[:, : 3 * cell].reshape(len(crops), 3, cell, 4, cell, 3)
    return (cells - cells.mean((2, 4), keepdims=True)).std((1, 2, 3, 4, 5))
