"""Images as a caller may have them: paths, Pillow's, arrays and tensors, one or many."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Set, Sized
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from torchreid_vi.data.images import Range, in_rgb, read_image
from torchreid_vi.errors import InputError
from torchreid_vi.folders import expanded

ImageLike = str | Path | Image.Image | np.ndarray | Tensor

_ARRAYS = "(H, W, 3), (H, W) or (N, H, W, 3) of uint8, or (H, W) of uint16 or float32"
_TENSORS = "(3, H, W), (H, W) or (N, 3, H, W) of torch.uint8"


def each_image(images: ImageLike | Iterable[ImageLike]) -> tuple[Iterator[ImageLike], int | None]:
    """Return the images one by one, and how many there are where that is known.

    Args:
        images: One image, a batch as an array or a tensor, or any iterable of images but a set or a mapping.

    Raises:
        InputError: For anything else.
    """
    if isinstance(images, (str, os.PathLike, Image.Image)):
        return iter([images]), 1
    if isinstance(images, np.ndarray) and images.ndim == 1 and images.dtype.kind in "OU":
        images = images.tolist()
    if isinstance(images, (np.ndarray, Tensor)):
        pixels = _pixels(images)
        return (iter(pixels), len(pixels)) if pixels.ndim == 4 else (iter([pixels]), 1)
    if isinstance(images, (bytes, bytearray, Mapping, Set)) or not isinstance(images, Iterable):
        raise _no_image(images)
    return iter(images), len(images) if isinstance(images, Sized) else None


def one_image(image: ImageLike, bgr: bool = False, thermal: Range | None = None) -> Image.Image:
    """Return one image in RGB.

    Args:
        image: A path, one of Pillow's, an array or a tensor.
        bgr: Whether arrays and tensors have OpenCV's order of channels.
        thermal: What is black and white in images of more than 8 bits.

    Raises:
        InputError: For what is no image, or no single one.
    """
    if isinstance(image, (str, os.PathLike)):
        return read_image(expanded(image), thermal=thermal)
    if isinstance(image, (np.ndarray, Tensor)):
        pixels = _pixels(image)
        if pixels.ndim == 4:
            raise InputError(f"an element of shape {tuple(image.shape)} is a batch of images: pass it alone")
        image = Image.fromarray(
            np.ascontiguousarray(pixels[..., ::-1] if bgr and pixels.ndim == 3 else pixels)
        )
    if not isinstance(image, Image.Image):
        raise _no_image(image)
    return in_rgb(image, f"of {image.width} × {image.height} pixels and mode {image.mode}", thermal=thermal)


def _pixels(array: np.ndarray | Tensor) -> np.ndarray:
    """Return an array (H, W), (H, W, 3) or (N, H, W, 3) of uint8, or one (H, W) of thermal counts."""
    pixels, expected = array, _ARRAYS
    if isinstance(array, Tensor):
        expected = _TENSORS
        if array.dtype is torch.uint8:
            pixels = array.detach().cpu()
            if array.ndim in (3, 4) and array.shape[-3] == 3:
                pixels = pixels.movedim(-3, -1)
            pixels = pixels.numpy()
    if pixels.ndim == 2 and pixels.dtype in (np.uint16, np.float32) and isinstance(array, np.ndarray):
        return pixels
    if pixels.dtype != np.uint8 or not (
        pixels.ndim == 2 or (pixels.ndim in (3, 4) and pixels.shape[-1] == 3)
    ):
        hint = ""
        if array.dtype.is_floating_point if isinstance(array, Tensor) else array.dtype.kind == "f":
            hint = "; convert values from 0 to 1 by (255 * values).round() first"
        raise InputError(
            f"{'a tensor' if isinstance(array, Tensor) else 'an array'} of {array.dtype} and shape "
            f"{tuple(array.shape)} is no image: {expected} is expected{hint}"
        )
    return pixels


def _no_image(found: object) -> InputError:
    return InputError(
        f"{type(found).__name__} is no image: a path, one of Pillow's images, an array or a tensor of uint8, or a "
        "list of these is expected"
    )
