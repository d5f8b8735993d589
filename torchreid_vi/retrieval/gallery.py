"""A folder of images to search in: embedded once, and again only what has changed."""

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
    """An answer.

    Attributes:
        path: of the image.
        similarity: the cosine of its feature and the query's, from −1 to 1.
    """

    path: Path
    similarity: float


class Gallery:
    """The images of a folder with their features.

    Features are kept in a file for each folder, weights and modality; an image of another size or time than the
    kept one is embedded again. Images that cannot be read are left out.

    Args:
        folder: of the images.
        extractor: embeds them.
        modality: of the images, ``visible`` or ``infrared``.
        cache: folder of the files with features; under the user's cache when left out, none when empty.
        progress: show a bar.

    Attributes:
        folder: of the images.
        paths: of the images (N).
        features: (N, D).
        unreadable: files that were left out.

    Raises:
        InputError: when there is no image that can be read.
    """

    def __init__(
        self,
        folder: str | Path,
        extractor: FeatureExtractor,
        modality: str = "visible",
        cache: str | Path | None = None,
        progress: bool = False,
    ) -> None:
        self.extractor = extractor
        self.folder = expanded(folder)
        paths = images_under(folder)
        root = os.path.abspath(self.folder)
        about = f"{root}\0{extractor.fingerprint}\0{modality}".encode(errors="surrogateescape")
        name = hashlib.sha256(about).hexdigest()[:24]
        store = (user_cache() if cache is None else expanded(cache)) / f"{name}.npz"
        kept = _read(store) if cache != "" else {}
        marks = [_mark(path) for path in paths]
        fresh = [i for i, mark in enumerate(marks) if mark not in kept]
        new, readable = extractor.files([paths[i] for i in fresh], modality, progress)
        if any(len(feature) != new.shape[1] for feature in kept.values()):
            raise InputError(f"{store} holds features of another length than the model's: remove it")
        found = {marks[fresh[number]]: feature for number, feature in zip(readable, new, strict=True)}
        held = kept | found
        chosen = [i for i, mark in enumerate(marks) if mark in held]
        self.unreadable = [paths[i] for i in fresh if marks[i] not in found]
        if not chosen:
            raise InputError(f"no image in {folder} can be read: name another folder")
        self.paths = [paths[i] for i in chosen]
        self.features = np.stack([held[marks[i]] for i in chosen])
        if cache != "" and (found or len(kept) != len(chosen)):
            _write(store, [marks[i] for i in chosen], self.features)

    def search(
        self, queries: ImageLike | Iterable[ImageLike], modality: str | Modality = "infrared", top: int = 10
    ) -> list[list[Found]]:
        """For each query at most ``top`` images, the most similar first.

        Args:
            queries: one image or several, as for :class:`~torchreid_vi.FeatureExtractor`.
            modality: of the queries.
            top: how many images.
        """
        similarity = self.extractor(queries, modality) @ self.features.T
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :top]
        return [
            [Found(self.paths[i], float(row[i])) for i in best]
            for row, best in zip(similarity, order, strict=True)
        ]


def _mark(path: Path) -> str:
    found = path.stat()
    return f"{path.absolute()}\0{found.st_size}\0{found.st_mtime_ns}"


def _read(store: Path) -> dict[str, np.ndarray]:
    """What is kept, by the marks of the images; nothing where there is no such file, or a damaged one."""
    try:
        with np.load(store, allow_pickle=False) as content:
            marks, features = content["marks"], content["features"]
        if marks.ndim != 1 or features.ndim != 2 or features.dtype != np.float32 or not features.shape[1]:
            return {}
        if not np.isfinite(features).all():
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
