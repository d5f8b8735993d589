"""Accept images in any form a caller has them: paths, Pillow's images, arrays and tensors, one or many."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from torchreid_vi.data.images import Range, in_rgb, read_image
from torchreid_vi.errors import InputError
from torchreid_vi.folders import expanded

ImageLike = str | Path | Image.Image | np.ndarray | Tensor


def each_image(images: ImageLike | Iterable[ImageLike]) -> Iterable[ImageLike]:
    """Return one image, or a batch in an array or a tensor, as an iterable of images.

    Raises:
        InputError: For anything that is neither an image nor an iterable of images.
    """
    if isinstance(images, (str, os.PathLike, Image.Image)):
        return [images]
    if isinstance(images, np.ndarray) and images.ndim == 1 and images.dtype.kind in "OU":
        return list(images)
    if isinstance(images, (np.ndarray, Tensor)):
        pixels = _pixels(images)
        return pixels if pixels.ndim == 4 else [pixels]
    if not isinstance(images, Iterable):
        raise _no_image(images)
    return images


def one_image(image: ImageLike, bgr: bool = False, thermal: Range | None = None) -> Image.Image:
    """Return one image in RGB.

    Args:
        image: A path, one of Pillow's images, an array or a tensor.
        bgr: Whether arrays and tensors have OpenCV's order of channels.
        thermal: Values that are black and white in images of more than 8 bits.

    Raises:
        InputError: When it is not a single image.
    """
    if isinstance(image, (str, os.PathLike)):
        return read_image(expanded(image), thermal=thermal)
    if isinstance(image, (np.ndarray, Tensor)):
        pixels = _pixels(image)
        if pixels.ndim == 4:
            raise InputError(f"an element of shape {tuple(image.shape)} is a batch of images: pass it alone")
        pixels = pixels[..., ::-1] if bgr and pixels.ndim == 3 else pixels
        image = Image.fromarray(np.ascontiguousarray(pixels))
    if not isinstance(image, Image.Image):
        raise _no_image(image)
    return in_rgb(image, f"of {image.width} × {image.height} pixels and mode {image.mode}", thermal=thermal)


def _pixels(array: np.ndarray | Tensor) -> np.ndarray:
    """Return an array (H, W), (H, W, 3) or (N, H, W, 3) of uint8, or (H, W) of thermal values."""
    pixels, expected = array, "(H, W, 3), (H, W) or (N, H, W, 3) of uint8, or (H, W) of uint16 or float32"
    if isinstance(array, Tensor):
        expected = "(3, H, W), (H, W) or (N, 3, H, W) of torch.uint8"
        if array.dtype is torch.uint8:
            pixels = array.detach().cpu()
            pixels = pixels.movedim(-3, -1) if array.ndim in (3, 4) and array.shape[-3] == 3 else pixels
            pixels = pixels.numpy()
    elif pixels.ndim == 2 and pixels.dtype in (np.uint16, np.float32):
        return pixels
    colour = pixels.ndim in (3, 4) and pixels.shape[-1] == 3
    if pixels.dtype == np.uint8 and (colour or pixels.ndim == 2):
        return pixels
    hint = (
        "; convert values from 0 to 1 by (255 * values).round() first" if "float" in str(array.dtype) else ""
    )
    raise InputError(
        f"{'a tensor' if isinstance(array, Tensor) else 'an array'} of {array.dtype} and shape "
        f"{tuple(array.shape)} is no image: {expected} is expected{hint}"
    )


def _no_image(found: object) -> InputError:
    return InputError(
        f"{type(found).__name__} is no image: a path, one of Pillow's images, an array or a tensor of uint8, or a "
        "list of these is expected"
    )
