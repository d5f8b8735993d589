"""Reading a picture: the one way by which images come in, wherever they are from."""

from __future__ import annotations

import io
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


def read_image(path: str | Path, content: bytes | None = None) -> Image.Image:
    """The image in RGB, as :func:`in_rgb` makes it: of what moves, the first frame.

    Args:
        path: of the file: JPEG, PNG, BMP, GIF, TIFF or WebP.
        content: of the file, if it has been read.

    Raises:
        InputError: naming the file, when it is missing, no image, truncated, or too large.
    """
    content = read_image_file(path) if content is None else content
    try:
        reader = next(reader for start, reader in _READERS.items() if content.startswith(start))
        with reader(io.BytesIO(content)) as image:
            return in_rgb(image, str(path))
    except InputError:
        raise
    except Exception as error:  # whatever a damaged file makes Pillow raise
        raise _refused(path, "is corrupt or truncated") from error


def in_rgb(image: Image.Image, named: str) -> Image.Image:
    """An image in RGB, upright, on white where it is transparent, 16 bits scaled to 8, without notes.

    Args:
        image: one of Pillow's.
        named: what it is called in a message.

    Raises:
        InputError: when it holds nothing, too much, or numbers of which none is white.
    """
    width, height = image.size
    if width * height > LARGEST_IMAGE:  # a small file may say that its picture is as large as memory
        raise InputError(
            f"image {named} is of {width} × {height} pixels, more than {LARGEST_IMAGE:,}: scale it down or "
            "remove it"
        )
    if not width * height:
        raise _refused(named, "holds no pixels")
    image.load()
    with suppress(Exception):  # whatever damaged notes on its position make Pillow raise
        if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):  # some versions of Pillow read 16 bits as 32
        pixels = np.asarray(image).astype(np.int64)
        if pixels.min() >= 0 and pixels.max() <= 0xFFFF:
            return Image.fromarray(((pixels + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise _refused(named, "holds numbers of which none is white")
    if not image.has_transparency_data:
        plain = image.convert("RGB")
        plain.info = {}  # Pillow would write the comment of a JPEG into every JPEG that is made of it
        return plain
    layers = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), layers).convert("RGB")


def read_image_file(path: str | Path) -> bytes:
    """The bytes of an image file.

    Raises:
        InputError: when it is missing, too large, or no regular file.
    """
    try:
        return read_bytes(path, LARGEST_FILE)
    except FileNotFoundError as error:
        raise _refused(path, "is missing") from error
    except OSError as error:
        raise _refused(path, f"cannot be read ({error.strerror})") from error


def _refused(path: str | Path, reason: str) -> InputError:
    return InputError(
        f"image {path} {reason}: restore or remove it (data.on_bad_image skip has training and testing do without)"
    )
