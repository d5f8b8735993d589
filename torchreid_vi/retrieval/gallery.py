"""A folder of images to search in; only images that are new or have changed are embedded again."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from torchreid_vi.data.listing import images_under
from torchreid_vi.errors import InputError
from torchreid_vi.files import atomic_write
from torchreid_vi.folders import expanded, user_cache
from torchreid_vi.modality import Modality
from torchreid_vi.retrieval.extractor import FeatureExtractor
from torchreid_vi.retrieval.images import ImageLike

log = logging.getLogger(__name__)


class Found(NamedTuple):
    """An image that a search returns.

    Attributes:
        path: Image file.
        similarity: Cosine of its feature and the query's, from −1 to 1.
    """

    path: Path
    similarity: float


class Gallery:
    """The images of a folder with their features.

    Features are kept in a file for each folder, weights and modality; an image of another size or time than the
    kept one is embedded again. Images that cannot be read are left out.

    Args:
        folder: Folder of the images.
        extractor: Embeds them.
        modality: Modality of the images, ``visible`` or ``infrared``.
        cache: Folder of the files with features; under the user's cache when left out, none when empty.

    Attributes:
        folder: Folder of the images.
        paths: Paths of the images (N).
        features: Their features (N, D).
        unreadable: Files that were left out.

    Raises:
        InputError: When no image can be read.
    """

    def __init__(
        self,
        folder: str | Path,
        extractor: FeatureExtractor,
        modality: str = "visible",
        cache: str | Path | None = None,
    ) -> None:
        self.extractor, self.folder = extractor, expanded(folder)
        paths = images_under(folder)
        about = f"{os.path.abspath(self.folder)}\0{extractor.fingerprint}\0{modality}"
        name = hashlib.sha256(os.fsencode(about)).hexdigest()[:24]
        store = (user_cache() if cache is None else expanded(cache)) / f"{name}.npz"
        kept = _read(store) if cache != "" else {}
        marks = {path: _mark(path) for path in paths}
        fresh = [path for path in paths if marks[path] not in kept]
        new, readable = extractor.files(fresh, modality)
        held = kept | {marks[fresh[i]]: feature for i, feature in zip(readable, new, strict=True)}
        self.paths = [path for path in paths if marks[path] in held]
        self.unreadable = [path for path in paths if marks[path] not in held]
        if not self.paths:
            raise InputError(f"no image in {folder} can be read: name another folder")
        self.features = np.stack([held[marks[path]] for path in self.paths])
        if cache != "" and (readable or len(kept) != len(self.paths)):
            _write(store, [marks[path] for path in self.paths], self.features)

    def search(
        self, queries: ImageLike | Iterable[ImageLike], modality: str | Modality = "infrared", top: int = 10
    ) -> list[list[Found]]:
        """Return for each query at most ``top`` images, the most similar first.

        Args:
            queries: One image or several, as for :class:`~torchreid_vi.FeatureExtractor`.
            modality: Modality of the queries.
            top: Number of images to return.
        """
        similarity = self.extractor(queries, modality) @ self.features.T
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :top]
        return [
            [Found(self.paths[i], float(row[i])) for i in best]
            for row, best in zip(similarity, order, strict=True)
        ]


def _mark(path: Path) -> str:
    """Return a text that changes when a file does."""
    found = path.stat()
    return f"{path.absolute()}\0{found.st_size}\0{found.st_mtime_ns}"


def _read(store: Path) -> dict[str, np.ndarray]:
    """Return the kept features by mark; none where the file is missing or damaged."""
    try:
        with np.load(store, allow_pickle=False) as content:
            marks, features = content["marks"], content["features"]
        sound = marks.ndim == 1 and features.ndim == 2 and features.dtype == np.float32
        if not (sound and features.shape[1] and np.isfinite(features).all()):
            return {}
        return dict(zip(marks.tolist(), features, strict=True))
    except Exception:  # whatever a damaged file makes the reader raise
        return {}


def _write(store: Path, marks: list[str], features: np.ndarray) -> None:
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(store) as file:
            np.savez(file, marks=np.array(marks), features=features)
    except OSError as error:
        log.info(
            f"Features cannot be kept in {store.parent} ({error.strerror}): they are extracted every time"
        )
