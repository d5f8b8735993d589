"""Reading a picture: the one way by which images come in, wherever they are from."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps
from torchvision import transforms as tv

from torchreid_vi.errors import InputError, unknown_name

#: Endings of the image files that are looked for in folders.
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
#: What Pillow may read, whatever a file is called: some of its other readers run programs.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")


class Range(NamedTuple):
    """The numbers that are black and white in images of 16 or 32 bits, such as thermal cameras take."""

    black: float
    white: float


#: How images are resized, by the names that ``data.interpolation`` uses; Pillow smooths with each of them.
INTERPOLATIONS = {
    "bilinear": tv.InterpolationMode.BILINEAR,
    "bicubic": tv.InterpolationMode.BICUBIC,
    "lanczos": tv.InterpolationMode.LANCZOS,
}


def resizer(height: int, width: int, interpolation: str = "bilinear") -> tv.Resize:
    """Return the transform that resizes Pillow's images to a size in pixels.

    Raises:
        InputError: For an unknown interpolation.
    """
    if interpolation not in INTERPOLATIONS:
        raise unknown_name("value of data.interpolation", interpolation, INTERPOLATIONS)
    return tv.Resize((height, width), INTERPOLATIONS[interpolation])


class Decoder:
    """Calling it with a path gives that image of a dataset (3, H, W), uint8, resized.

    Args:
        height: Height of the result, in pixels.
        width: Likewise.
        interpolation: How images are resized; a name from :data:`INTERPOLATIONS`.
        thermal: What is black and white in images of more than 8 bits.
    """

    def __init__(
        self, height: int, width: int, interpolation: str = "bilinear", thermal: Range | None = None
    ) -> None:
        self.size, self.interpolation = (height, width), interpolation
        self.thermal, self._resize = thermal, resizer(height, width, interpolation)

    def __call__(self, path: str) -> np.ndarray:
        return self.resized(dataset_image(path, self.thermal))

    def resized(self, image: Image.Image) -> np.ndarray:
        """Return an RGB image of any size (3, H, W), uint8, resized."""
        return planes(self._resize(image))


def planes(image: Image.Image) -> np.ndarray:
    """Return an RGB image as an array (3, H, W), uint8."""
    return np.asarray(image).transpose(2, 0, 1)


#: What to do about an image of a dataset that cannot be used.
OF_DATASET = "restore or remove it; torchreid-vi check-data finds all of them"


def read_image(
    path: str | Path, content: bytes | None = None, remedy: str = "", thermal: Range | None = None
) -> Image.Image:
    """Return the image in RGB, as :func:`in_rgb` makes it: of what moves, the first frame.

    Args:
        path: Image file: JPEG, PNG, BMP, GIF, TIFF or WebP.
        content: Bytes of the file, if they have been read.
        remedy: Advice that ends an error's message, in place of the usual one.
        thermal: What is black and white in images of more than 8 bits.

    Raises:
        InputError: When the file is missing, a folder, no image, truncated, or too large.
    """
    content = read_image_file(path, remedy) if content is None else content
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            return in_rgb(image, str(path), remedy, thermal)
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise _refused(path, "has too many pixels", remedy or "scale it down") from error
    except Exception as error:  # whatever a damaged file makes Pillow raise
        raise _refused(path, "is corrupt or truncated", remedy or "name another image") from error


def dataset_image(path: str | Path, thermal: Range | None = None) -> Image.Image:
    """Return an image of a dataset in RGB, as :func:`read_image` does; the remedy is one for datasets."""
    return read_image(path, remedy=OF_DATASET, thermal=thermal)


def deep_pixels(path: str | Path) -> np.ndarray | None:
    """Return the numbers (H, W) of an image of one channel and more than 8 bits; none of any other image.

    Raises:
        Exception: Whatever an image that cannot be read makes its reader raise.
    """
    with Image.open(io.BytesIO(read_image_file(path)), formats=_FORMATS) as image:
        return np.asarray(image) if _is_deep(image) else None


def _is_deep(image: Image.Image) -> bool:
    return image.mode.startswith(("I", "F"))


def in_rgb(image: Image.Image, named: str, remedy: str = "", thermal: Range | None = None) -> Image.Image:
    """Return an image in RGB, upright, on white where it is transparent, scaled to 8 bits, without notes.

    Without a range 65535 is white in images of 16 bits.

    Args:
        image: One of Pillow's.
        named: Name of the image in messages.
        remedy, thermal: As for :func:`read_image`.

    Raises:
        InputError: When it holds nothing, or values without a known range.
    """
    if not image.width * image.height:
        raise _refused(named, "holds no pixels", remedy or "name another image")
    image.load()
    with suppress(Exception):  # whatever damaged notes on its position make Pillow raise
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            image = ImageOps.exif_transpose(image)
    if _is_deep(image):
        return _scaled(image, named, thermal)
    if not image.has_transparency_data:
        plain = image.convert("RGB")
        plain.info = {}  # Pillow would write the comment of a JPEG into every JPEG that is made of it
        return plain
    layers = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), layers).convert("RGB")


def _scaled(image: Image.Image, named: str, thermal: Range | None) -> Image.Image:
    """Return an image of 16 or 32 bits in RGB."""
    pixels = np.asarray(image)
    if thermal is None:
        if image.mode == "F" or pixels.min() < 0 or pixels.max() > 0xFFFF:
            remedy = "set data.thermal_range to the numbers that are black and white"
            raise _refused(named, "has float or out-of-range values and no known range", remedy)
        return Image.fromarray(((pixels.astype(np.int64) + 128) // 257).astype(np.uint8)).convert("RGB")
    black, white = thermal
    known = np.nan_to_num(pixels.astype(np.float64), nan=black, posinf=white, neginf=black)
    scaled = ((known - black) * (255 / (white - black))).clip(0, 255)
    return Image.fromarray((scaled + 0.5).astype(np.uint8)).convert("RGB")


def read_image_file(path: str | Path, remedy: str = "") -> bytes:
    """Return the bytes of an image file.

    Raises:
        InputError: When it is missing, a folder, or cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        raise _refused(path, "is missing", remedy or "check its name") from error
    except OSError as error:
        if os.path.isdir(path):
            raise _refused(path, "is a folder", remedy or "name the images in it") from error
        advice = "have its owner let you" if isinstance(error, PermissionError) else "name an image file"
        raise _refused(path, f"cannot be read ({error.strerror})", remedy or advice) from error


def _refused(named: str | Path, reason: str, remedy: str) -> InputError:
    return InputError(f"image {named} {reason}: {remedy}")
