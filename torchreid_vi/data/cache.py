"""Images of one size in one memory-mapped file: decoded and resized once, not in every epoch.

What a cached image gives is what decoding and resizing the file gives, bit for bit. The operating system keeps the
file in memory as far as there is room, once for all processes.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image
from torchvision import transforms as tv

from torchreid_vi import console, files
from torchreid_vi.data.images import Range, dataset_image, resizer
from torchreid_vi.errors import InputError
from torchreid_vi.locking import locked


class ImageCache:
    """Calling it with a path returns the image in RGB, of the cache's size.

    Args:
        file: made by :func:`open_cache`.
        paths: of the images, in the file's order.
        height, width: of the images.
    """

    def __init__(self, file: Path, paths: Sequence[str], height: int, width: int) -> None:
        self.file = file
        self.shape = (len(paths), height, width, 3)
        self.row = {path: i for i, path in enumerate(paths)}

    @cached_property
    def pixels(self) -> np.ndarray:
        """All images (N, H, W, 3), uint8; a page of the file is read when it is touched.

        Raises:
            InputError: when the file is gone.
        """
        try:
            return np.memmap(self.file, np.uint8, "r", shape=self.shape)
        except FileNotFoundError as error:
            raise InputError(
                f"image cache {self.file} has been removed, maybe by another run: start the same command again"
            ) from error

    def array(self, path: str) -> np.ndarray:
        """The image (H, W, 3), uint8."""
        return np.array(self.pixels[self.row[path]])

    def __call__(self, path: str) -> Image.Image:
        return Image.fromarray(self.pixels[self.row[path]])

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "pixels"}


def open_cache(
    folder: Path,
    name: str,
    paths: Iterable[str],
    height: int,
    width: int,
    interpolation: str = "bilinear",
    thermal: Range | None = None,
) -> ImageCache | None:
    """The cache of these images, built when it is not there or when a file has changed since.

    It is written to a second file, which then takes its place, under a lock: a builder that is killed leaves
    nothing that counts as a cache, and one beside another waits and uses what that one built. Caches of other
    files under the same name, size and interpolation are removed.

    Args:
        folder: of the caches, made when it is not there.
        name: of what is cached, such as a dataset and its part.
        paths: of the images; repeated ones are kept once.
        height, width: to resize to, in pixels.
        interpolation: How; a name from :data:`torchreid_vi.data.images.INTERPOLATIONS`.
        thermal: What is black and white in images of more than 8 bits.

    Returns:
        None when the folder cannot be written or is too small, which is said.

    Raises:
        InputError: naming an image that is missing or does not decode.
    """
    paths = sorted(set(paths))
    size = len(paths) * height * width * 3
    prefix = f"{name}-{interpolation}-{height}x{width}-"
    file = folder / f"{prefix}{_fingerprint(paths, thermal)}.u8"

    def whole() -> bool:
        return file.is_file() and file.stat().st_size == size

    try:
        if not whole():
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder / f"{prefix}lock"):
                if not whole():
                    _build(file, paths, resizer(height, width, interpolation), thermal)
                for stale in {*folder.glob(f"{prefix}*.u8"), *folder.glob(f".*.partial.{prefix}*.u8")} - {
                    file
                }:
                    stale.unlink()
    except OSError as error:
        console.say(f"No image cache in {folder} ({error.strerror}): images are decoded in every epoch")
        return None
    cache = ImageCache(file, paths, height, width)
    _ = cache.pixels  # mapped now, it stays with this process if another one removes the file
    return cache


def _fingerprint(paths: Sequence[str], thermal: Range | None) -> str:
    """Return 16 hex digits that change with the files, their sizes and times, and with what decodes them."""
    digest = hashlib.sha256(f"{PIL.__version__}{thermal or ''}".encode())
    for path in paths:
        try:
            found = os.stat(path)
        except OSError:
            dataset_image(path)  # says what is wrong
            raise
        line = f"{os.path.abspath(path)}\0{found.st_size}\0{found.st_mtime_ns}\n"
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def _build(file: Path, paths: Sequence[str], resize: tv.Resize, thermal: Range | None) -> None:
    def decode(path: str) -> bytes:
        return resize(dataset_image(path, thermal)).tobytes()

    cores = os.cpu_count() or 1
    ahead = 4 * cores  # images that wait in memory, however slow the disk is
    pool = ThreadPoolExecutor(cores)  # Pillow decodes and resizes outside Python's lock
    try:
        with files.whole(file) as out:
            images: deque[Future[bytes]] = deque()
            for path in console.progress(paths, f"caching {file.name[:-20]}"):
                images.append(pool.submit(decode, path))
                if len(images) > ahead:
                    out.write(images.popleft().result())
            for image in images:
                out.write(image.result())
        console.say(f"Cached {len(paths):,} images of {resize.size[0]} × {resize.size[1]} pixels: {file}")
    finally:
        pool.shutdown(cancel_futures=True)
