"""Reading a picture: the one way by which images come in, wherever they are from."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import (
    BmpImagePlugin,
    ExifTags,
    GifImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
from torchvision import transforms as tv

from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.files import read_bytes

#: Endings of the image files that are looked for in folders.
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png")
LARGEST_IMAGE = 64_000_000  # pixels
LARGEST_FILE = 2**29  # bytes

#: What reads a file, by how it begins. No other of Pillow's readers is tried, whatever a file is called: some of
#: them run other programs. ``Image.open`` would also warn of large images, which are refused here.
_READERS: dict[bytes, Any] = {
    b"\xff\xd8\xff": JpegImagePlugin.jpeg_factory,
    b"\x89PNG\r\n\x1a\n": PngImagePlugin.PngImageFile,
    b"BM": BmpImagePlugin.BmpImageFile,
    b"GIF8": GifImagePlugin.GifImageFile,
    b"II*\0": TiffImagePlugin.TiffImageFile,
    b"MM\0*": TiffImagePlugin.TiffImageFile,
    b"RIFF": WebPImagePlugin.WebPImageFile,
}


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


#: What to do about an image of a dataset that cannot be used.
OF_DATASET = "restore or remove it (data.on_bad_image skip has training and testing do without)"


def read_image(path: str | Path, content: bytes | None = None, remedy: str = "") -> Image.Image:
    """Return the image in RGB, as :func:`in_rgb` makes it: of what moves, the first frame.

    Args:
        path: Image file: JPEG, PNG, BMP, GIF, TIFF or WebP.
        content: Its bytes, if they have been read.
        remedy: What a message tells the user to do, where the usual advice does not fit.

    Raises:
        InputError: When the file is missing, a folder, no image, truncated, or too large.
    """
    content = read_image_file(path, remedy) if content is None else content
    try:
        reader = next(reader for start, reader in _READERS.items() if content.startswith(start))
        with reader(io.BytesIO(content)) as image:
            return in_rgb(image, str(path), remedy)
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file makes Pillow raise
        raise _refused(path, "is corrupt or truncated", remedy or "name another image") from error


def dataset_image(path: str | Path) -> Image.Image:
    """Return an image of a dataset in RGB, as :func:`read_image` does; the remedy is one for datasets."""
    return read_image(path, remedy=OF_DATASET)


def in_rgb(image: Image.Image, named: str, remedy: str = "") -> Image.Image:
    """Return an image in RGB, upright, on white where it is transparent, 16 bits scaled to 8, without notes.

    Args:
        image: One of Pillow's.
        named: What it is called in a message.
        remedy: As for :func:`read_image`.

    Raises:
        InputError: When it holds nothing, too much, or numbers of which none is white.
    """
    width, height = image.size
    if width * height > LARGEST_IMAGE:  # a small file may say that its picture is as large as memory
        reason = f"is of {width} × {height} pixels, more than {LARGEST_IMAGE:,}"
        raise _refused(named, reason, remedy or "scale it down")
    if not width * height:
        raise _refused(named, "holds no pixels", remedy or "name another image")
    image.load()
    with suppress(Exception):  # whatever damaged notes on its position make Pillow raise
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # some versions of Pillow read 16 bits as 32
        pixels = np.asarray(image).astype(np.int64)
        if pixels.min() >= 0 and pixels.max() <= 0xFFFF:
            return Image.fromarray(((pixels + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise _refused(named, "holds numbers of which none is white", remedy or "convert it to 8 or 16 bits")
    if not image.has_transparency_data:
        plain = image.convert("RGB")
        plain.info = {}  # Pillow would write the comment of a JPEG into every JPEG that is made of it
        return plain
    layers = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), layers).convert("RGB")


def read_image_file(path: str | Path, remedy: str = "") -> bytes:
    """Return the bytes of an image file.

    Raises:
        InputError: When it is missing, a folder, too large, or no regular file.
    """
    try:
        return read_bytes(path, LARGEST_FILE)
    except FileNotFoundError as error:
        raise _refused(path, "is missing", remedy or "check its name") from error
    except OSError as error:
        if os.path.isdir(path):
            raise _refused(path, "is a folder", remedy or "name the images in it") from error
        advice = "have its owner let you" if isinstance(error, PermissionError) else "name an image file"
        raise _refused(path, f"cannot be read ({error.strerror})", remedy or advice) from error


def _refused(named: str | Path, reason: str, remedy: str) -> InputError:
    return InputError(f"image {named} {reason}: {remedy}")
