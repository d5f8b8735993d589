"""An index of features on disk, for galleries that are searched again and again: FAISS, with what each row shows.

Johnson et al. Billion-scale similarity search with GPUs. IEEE Transactions on Big Data 2019.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.extras import require
from torchreid_vi.files import atomic_path, read_json, sha256_of
from torchreid_vi.folders import expanded, in_text

VECTORS, ITEMS, ABOUT = "vectors.faiss", "items.jsonl", "about.json"
_DIGEST = "vectors_sha256"  # of the file, in what is known of it
_SAMPLE = 200  # stored vectors that the recall is measured with


def _faiss() -> Any:
    return require("search", "an index")[0]


def _flat(dimensions: int, number: int) -> Any:
    return _faiss().IndexFlatIP(dimensions)


def _hnsw(dimensions: int, number: int) -> Any:
    faiss = _faiss()
    index = faiss.IndexHNSWFlat(dimensions, 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction, index.hnsw.efSearch = 200, 128
    return index


def _ivf_pq(dimensions: int, number: int) -> Any:
    """Cells with 39 vectors or more to learn from, and 64 bytes a vector, or fewer where D is small."""
    faiss = _faiss()
    if number < 39 * 256:
        raise InputError(
            f"an ivf-pq index learns from at least {39 * 256:,} vectors and there are {number:,}: choose flat "
            "or hnsw"
        )
    cells = max(1, min(round(4 * number**0.5), number // 39))
    parts = next(n for n in range(min(64, dimensions), 0, -1) if dimensions % n == 0)
    index = faiss.IndexIVFPQ(
        faiss.IndexFlatIP(dimensions), dimensions, cells, parts, 8, faiss.METRIC_INNER_PRODUCT
    )
    index.nprobe = max(1, cells // 16)
    return index


#: What makes an empty index of each kind, for features of D dimensions and a number of them.
KINDS: dict[str, Callable[[int, int], Any]] = {"flat": _flat, "hnsw": _hnsw, "ivf-pq": _ivf_pq}


def check(kind: str, number: int, folder: str | Path | None = None) -> None:
    """Finds out before features are extracted whether an index of a number of them can be made and written.

    Raises:
        InputError: for an unknown kind, too few vectors for it, FAISS that is missing, or a folder that is there.
    """
    if kind not in KINDS:
        raise unknown_name("kind of index", kind, KINDS)
    if not number:
        raise InputError("an index needs at least one image: check the folder")
    KINDS[kind](64, number)
    if folder and expanded(folder).exists():
        raise InputError(f"{folder} is there: name another folder for the index, or remove it")


class EmbeddingIndex:
    """Features that can be searched by their inner product, and an item for each.

    Args:
        vectors: FAISS's index.
        items: what each row shows.
        about: what else is known: ``kind``, ``vectors``, ``dimensions``, ``recall_at_10``, and what was added.
    """

    def __init__(self, vectors: Any, items: list[dict[str, Any]], about: dict[str, Any]) -> None:
        self.vectors, self.items, self.about = vectors, items, about

    @classmethod
    def build(
        cls, features: np.ndarray, items: Sequence[dict[str, Any]], kind: str = "flat", **about: Any
    ) -> EmbeddingIndex:
        """An index of features (N, D), L2-normalised, with an item for each.

        Its recall is measured: which share of the ten nearest by exact search it finds for some of its own vectors.

        Args:
            features: (N, D) of float32.
            items: N of them, each a dictionary that JSON can hold, with a text ``path``.
            kind: a key of :data:`KINDS`: ``flat`` is exact, ``hnsw`` fast and as large, ``ivf-pq`` small.
            **about: kept with it.

        Raises:
            InputError: for an unknown kind, no vectors, or too few of them for the kind.
            ValueError: when features and items do not fit together, or an item has no path.
        """
        check(kind, len(features))
        _check_items(features, items)
        features = np.ascontiguousarray(features, np.float32)
        vectors = KINDS[kind](features.shape[1], len(features))
        if not vectors.is_trained:
            vectors.train(features)
        vectors.add(features)
        about |= {"kind": kind, "vectors": len(features), "dimensions": features.shape[1]}
        index = cls(vectors, list(items), about)
        index.about["recall_at_10"] = index._recall(features)
        return index

    def add(self, features: np.ndarray, items: Sequence[dict[str, Any]]) -> None:
        """Add features (N, D), L2-normalised, with an item for each.

        An ``ivf-pq`` index keeps the cells that it has learned. The recall that was measured is no longer known.

        Raises:
            InputError: For features of other dimensions.
            ValueError: When features and items do not fit together, or an item has no path.
        """
        _check_items(features, items)
        self._check_dimensions(features)
        self.vectors.add(np.ascontiguousarray(features, np.float32))
        self.items += items
        self.about["vectors"] = len(self.items)
        self.about.pop("recall_at_10", None)

    def _check_dimensions(self, features: np.ndarray) -> None:
        if features.ndim != 2 or features.shape[1] != self.about["dimensions"]:
            raise InputError(
                f"features of shape {features.shape} for an index of {self.about['dimensions']} dimensions: use "
                "the weights that it was built with"
            )

    def _recall(self, features: np.ndarray) -> float:
        chosen = np.random.default_rng(0).choice(len(features), min(_SAMPLE, len(features)), replace=False)
        k = min(10, len(features))
        faiss = _faiss()
        exact = faiss.knn(features[chosen], features, k, metric=faiss.METRIC_INNER_PRODUCT)[1]
        found = self.vectors.search(features[chosen], k)[1]
        return float(np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(exact, found, strict=True)]))

    def search(self, features: np.ndarray, k: int = 10) -> list[list[tuple[float, dict[str, Any]]]]:
        """For each of the features (Q, D) at most k items, the most similar first, with their similarity."""
        self._check_dimensions(features)
        scores, rows = self.vectors.search(
            np.ascontiguousarray(features, np.float32), min(k, len(self.items))
        )
        return [
            [(float(score), self.items[row]) for score, row in zip(*found, strict=True) if row >= 0]
            for found in zip(scores, rows, strict=True)
        ]

    def save(self, folder: str | Path) -> None:
        """Writes the index as a new folder, whole or not at all.

        Raises:
            InputError: when the folder is there or cannot be written.
        """
        folder = in_text(expanded(folder))
        if folder.exists():
            raise InputError(f"{folder} is there: name another folder for the index, or remove it")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(folder) as partial:
                partial.mkdir()
                _faiss().write_index(self.vectors, str(partial / VECTORS))
                about = self.about | {_DIGEST: sha256_of(partial / VECTORS)}
                items = "".join(json.dumps(item) + "\n" for item in self.items)
                (partial / ITEMS).write_text(items, encoding="utf-8")
                (partial / ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
                partial.rename(folder)
        except (OSError, RuntimeError) as error:  # FAISS raises the latter
            reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:160]
            remedy = "free some space, or name another folder"
            raise InputError(f"{folder} cannot be written ({reason}): {remedy}") from error

    @classmethod
    def load(cls, folder: str | Path) -> EmbeddingIndex:
        """Reads an index that :meth:`save` wrote.

        Raises:
            InputError: when the folder is no index or its files do not belong together.
        """
        folder = expanded(folder)
        about = _read_about(folder)
        items = _read_items(folder)
        try:
            if sha256_of(folder / VECTORS) != about.pop(_DIGEST):  # FAISS may not survive a damaged file
                raise _damaged(folder)
            vectors = _faiss().read_index(str(folder / VECTORS))
            whole = len(items) == vectors.ntotal == about["vectors"] and vectors.d == about["dimensions"]
        except InputError:
            raise
        except Exception as error:  # whatever a damaged file makes the reader raise
            raise _damaged(folder) from error
        if not whole:
            raise InputError(f"{folder} holds files of different indexes: build it again with tools/index.py")
        return cls(vectors, items, about)


def _check_items(features: np.ndarray, items: Sequence[dict[str, Any]]) -> None:
    if len(features) != len(items) or features.ndim != 2:
        raise ValueError(f"features {features.shape} for {len(items)} items: (N, D) and N are expected")
    if not all(map(_is_item, items)):
        raise ValueError("an item without a path")


def _damaged(folder: Path) -> InputError:
    return InputError(f"{folder} is no index, or damaged: build it with tools/index.py")


def _read_about(folder: Path) -> dict[str, Any]:
    """What is known of an index, each of the kind that :meth:`EmbeddingIndex.save` wrote."""
    about = read_json(folder / ABOUT, str(_damaged(folder)))
    texts = ("kind", "weights", "settings", "weights_sha256", "extractor", "modality", _DIGEST)
    if (
        not isinstance(about, dict)
        or any(type(about.get(name)) is not int for name in ("vectors", "dimensions"))
        or any(not isinstance(about.get(name, ""), str) for name in texts)
        or _DIGEST not in about
    ):
        raise _damaged(folder)
    return about


def _read_items(folder: Path) -> list[dict[str, Any]]:
    """Return what the rows show."""
    try:
        items = [json.loads(line) for line in (folder / ITEMS).read_bytes().splitlines()]
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(folder) from error
    if not all(map(_is_item, items)):
        raise _damaged(folder)
    return items


def _is_item(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("path"), str)
