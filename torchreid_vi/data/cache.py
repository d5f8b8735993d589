"""Images of one size in one memory-mapped file: decoded and resized once, not in every epoch.

What a cached image gives is what decoding and resizing the file gives, bit for bit. The operating system keeps the
file in memory as far as there is room, once for all processes.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL

from torchreid_vi import console, files
from torchreid_vi.data.images import Decoder, Range, dataset_image
from torchreid_vi.locking import locked

log = logging.getLogger(__name__)


class ImageCache:
    """Calling it with a path gives the image (3, H, W), uint8, which is read from the file when it is used.

    Args:
        file: Made by :func:`open_cache`.
        paths: Paths of the images, in the file's order.
        height: Height of the images, in pixels.
        width: Likewise.
    """

    def __init__(self, file: Path, paths: Sequence[str], height: int, width: int) -> None:
        self.file, self.size = file, (height, width)
        # Mapped now, it stays with this process if another one removes the file.
        self.pixels = np.memmap(file, np.uint8, "r", shape=(len(paths), 3, height, width))
        self.row = {path: i for i, path in enumerate(paths)}

    def __call__(self, path: str) -> np.ndarray:
        return self.pixels[self.row[path]]

    def into(self, out: np.ndarray, paths: Sequence[str]) -> None:
        """Copy the images of some paths into an array (B, 3, H, W), in one call outside Python's lock."""
        self.pixels.take([self.row[path] for path in paths], 0, out, "clip")  # mode "raise" copies twice


def open_cache(folder: Path, name: str, paths: Iterable[str], decoder: Decoder) -> ImageCache | None:
    """Return the cache of these images, built when it is not there or when a file has changed since.

    It is written to a second file, which then takes its place, under a lock: a builder that is killed leaves
    nothing that counts as a cache, and one beside another waits and uses what that one built. Caches of other
    files under the same name, size and interpolation are removed.

    Args:
        folder: Folder of the caches, made when it is not there.
        name: Name of what is cached, such as a dataset and its part.
        paths: Paths of the images; repeated ones are kept once.
        decoder: Decodes and resizes an image.

    Returns:
        None when the folder cannot be written or is too small, which is said.

    Raises:
        InputError: Naming an image that is missing or does not decode.
    """
    paths, (height, width) = sorted(set(paths)), decoder.size
    size = len(paths) * height * width * 3
    prefix = f"{name}-{decoder.interpolation}-{height}x{width}-"
    file = folder / f"{prefix}{_fingerprint(paths, decoder.thermal)}.u8"

    def whole() -> bool:
        return file.is_file() and file.stat().st_size == size

    try:
        if not whole():
            folder.mkdir(parents=True, exist_ok=True)
            with locked(folder / f"{prefix}lock"):
                if not whole():
                    _build(file, paths, decoder)
                for stale in {*folder.glob(f"{prefix}*.u8"), *folder.glob(f".*.partial.{prefix}*.u8")} - {
                    file
                }:
                    stale.unlink()
        return ImageCache(file, paths, height, width)
    except OSError as error:
        log.info(f"No image cache in {folder} ({error.strerror}): images are decoded in every epoch")
        return None


def _fingerprint(paths: Sequence[str], thermal: Range | None) -> str:
    """Return 16 hex digits that change with the files, their sizes and times, and with what decodes them."""
    digest = hashlib.sha256(f"planes {PIL.__version__}{thermal or ''}".encode())
    for path in paths:
        try:
            found = os.stat(path)
        except OSError:
            dataset_image(path)  # says what is wrong
            raise
        line = f"{os.path.abspath(path)}\0{found.st_size}\0{found.st_mtime_ns}\n"
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def _build(file: Path, paths: Sequence[str], decoder: Decoder) -> None:
    cores = os.cpu_count() or 1
    ahead = 4 * cores  # images that wait in memory, however slow the disk is
    pool = ThreadPoolExecutor(cores)  # Pillow decodes and resizes outside Python's lock
    try:
        with files.atomic_write(file) as out:
            images: deque[Future[np.ndarray]] = deque()
            for path in console.progress(paths, f"caching {file.name[:-20]}"):
                images.append(pool.submit(decoder, path))
                if len(images) > ahead:
                    out.write(images.popleft().result().tobytes())
            for image in images:
                out.write(image.result().tobytes())
        height, width = decoder.size
        log.info(f"Cached {len(paths):,} images of {height} × {width} pixels: {file}")
    finally:
        pool.shutdown(cancel_futures=True)
