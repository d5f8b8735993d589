"""An index of features on disk, for galleries that are searched again and again: FAISS, with what each row shows.

Johnson et al. Billion-scale similarity search with GPUs. IEEE Transactions on Big Data 2019.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from torchreid_vi.errors import InputError
from torchreid_vi.files import atomic_path, read_json, sha256_of
from torchreid_vi.folders import expanded, in_text
from torchreid_vi.retrieval.kinds import check, empty, faiss

VECTORS, ITEMS, ABOUT = "vectors.faiss", "items.jsonl", "about.json"
_DIGEST = "vectors_sha256"  # of the file, in what is known of it
_SAMPLE = 200  # stored vectors that the recall is measured with


class EmbeddingIndex:
    """Features that can be searched by their inner product, and an item for each.

    Args:
        vectors: FAISS's index.
        items: What each id shows, in order; None for those that were removed.
        about: What else is known: ``factory``, ``dimensions``, ``recall_at_10``, and what was added.
    """

    def __init__(self, vectors: Any, items: Sequence[dict[str, Any] | None], about: dict[str, Any]) -> None:
        self.vectors, self.items, self.about = vectors, list(items), about

    def __len__(self) -> int:
        return int(self.vectors.ntotal)

    @classmethod
    def build(
        cls, features: np.ndarray, items: Sequence[dict[str, Any]], factory: str = "Flat", **about: Any
    ) -> EmbeddingIndex:
        """Return an index of features (N, D), L2-normalised, with an item for each.

        Its recall is measured: which share of the ten nearest by exact search it finds for some of its own vectors.

        Args:
            features: (N, D) of float32.
            items: N of them, each a dictionary that JSON can hold, with a text ``path``.
            factory: FAISS's string for the kind of index: ``Flat`` is exact, ``HNSW32`` fast and as large,
                ``IVF256,PQ64`` small.
            **about: Kept with it.

        Raises:
            InputError: For an unknown kind, no vectors, or too few of them for the kind.
            ValueError: When features and items do not fit together, or an item has no path.
        """
        _check_items(features, items)
        check(factory, features.shape[1], len(features))
        features = np.ascontiguousarray(features, np.float32)
        index = cls(empty(factory, features.shape[1]), [], about)
        index.about |= {"factory": factory, "dimensions": features.shape[1]}
        if not index.vectors.is_trained:
            index.vectors.train(features)
        index.add(features, items)
        index.about["recall_at_10"] = index._recall(features)
        return index

    def add(self, features: np.ndarray, items: Sequence[dict[str, Any]]) -> None:
        """Add features (N, D), L2-normalised, with an item for each.

        What an index learned when it was built stays. The recall that was measured is no longer known.

        Raises:
            InputError: For features of other dimensions.
            ValueError: When features and items do not fit together, or an item has no path.
        """
        _check_items(features, items)
        self._check_dimensions(features)
        ids = np.arange(len(self.items), len(self.items) + len(items))
        self.vectors.add_with_ids(np.ascontiguousarray(features, np.float32), ids)
        self.items += items
        self.about.pop("recall_at_10", None)

    def remove(self, paths: Iterable[str | Path]) -> int:
        """Remove the images of some paths, or under them if they are folders; return how many there were.

        Raises:
            InputError: For paths without an image in the index, for all images, and for a kind of index that cannot
                shrink.
        """
        places, found, held = {Path(path) for path in paths}, [], set()
        for number, item in enumerate(self.items):
            if item and (within := places & {Path(item["path"]), *Path(item["path"]).parents}):
                found.append(number)
                held |= within
        if absent := sorted(places - held):
            raise InputError(f"the index has no image {absent[0]}: name paths as a search shows them")
        if len(found) == len(self):
            raise InputError("no image would be left: remove the folder of the index")
        try:
            self.vectors.remove_ids(np.array(found, np.int64))
        except RuntimeError as error:
            raise InputError(f"a {self.about['factory']} index cannot shrink: build it again") from error
        for number in found:
            self.items[number] = None
        self.about.pop("recall_at_10", None)
        return len(found)

    def _check_dimensions(self, features: np.ndarray) -> None:
        if features.ndim != 2 or features.shape[1] != self.about["dimensions"]:
            raise InputError(
                f"features of shape {features.shape} for an index of {self.about['dimensions']} dimensions: use "
                "the weights that it was built with"
            )

    def _recall(self, features: np.ndarray) -> float:
        chosen = np.random.default_rng(0).choice(len(features), min(_SAMPLE, len(features)), replace=False)
        k = min(10, len(features))
        library = faiss()
        exact = library.knn(features[chosen], features, k, metric=library.METRIC_INNER_PRODUCT)[1]
        found = self.vectors.search(features[chosen], k)[1]
        return float(np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(exact, found, strict=True)]))

    def search(self, features: np.ndarray, k: int = 10) -> list[list[tuple[float, dict[str, Any]]]]:
        """Return for each of the features (Q, D) at most k items, the most similar first, with their similarity."""
        self._check_dimensions(features)
        scores, ids = self.vectors.search(np.ascontiguousarray(features, np.float32), min(k, len(self)))
        return [
            [
                (float(score), item)
                for score, number in zip(*found, strict=True)
                if (item := self._item(number))
            ]
            for found in zip(scores, ids, strict=True)
        ]

    def _item(self, number: int) -> dict[str, Any] | None:
        return self.items[number] if 0 <= number < len(self.items) else None  # -1 where FAISS found fewer

    def save(self, folder: str | Path) -> None:
        """Write the index as a new folder, whole or not at all.

        Raises:
            InputError: When the folder is there or cannot be written.
        """
        folder = in_text(expanded(folder))
        require_free(folder)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(folder) as partial:
                partial.mkdir()
                faiss().write_index(self.vectors, str(partial / VECTORS))
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
        """Read an index that :meth:`save` wrote.

        Raises:
            InputError: When the folder is no index or its files do not belong together.
        """
        folder = expanded(folder)
        about = _read_about(folder)
        items = _read_items(folder)
        try:
            if sha256_of(folder / VECTORS) != about.pop(_DIGEST):  # FAISS may not survive a damaged file
                raise _damaged(folder)
            vectors = faiss().read_index(str(folder / VECTORS))
            number = sum(item is not None for item in items)
            whole = number == vectors.ntotal and vectors.d == about["dimensions"]
        except InputError:
            raise
        except Exception as error:  # whatever a damaged file makes the reader raise
            raise _damaged(folder) from error
        if not whole:
            raise InputError(f"{folder} holds files of different indexes: build it again with tools/index.py")
        return cls(vectors, items, about)


def require_free(folder: Path) -> None:
    """Make sure that a folder to write is not there.

    Raises:
        InputError: When it is.
    """
    if expanded(folder).exists():
        raise InputError(f"{folder} is there: name another folder for the index, or remove it")


def _check_items(features: np.ndarray, items: Sequence[dict[str, Any]]) -> None:
    if len(features) != len(items) or features.ndim != 2:
        raise ValueError(f"features {features.shape} for {len(items)} items: (N, D) and N are expected")
    if not all(map(_is_item, items)):
        raise ValueError("an item without a path")


def _damaged(folder: Path) -> InputError:
    return InputError(f"{folder} is no index, or damaged: build it with tools/index.py")


def _read_about(folder: Path) -> dict[str, Any]:
    """Return what is known of an index, each of the kind that :meth:`EmbeddingIndex.save` wrote."""
    about = read_json(folder / ABOUT, str(_damaged(folder)))
    texts = ("factory", "weights", "settings", "weights_sha256", "extractor", "modality", _DIGEST)
    if (
        not isinstance(about, dict)
        or type(about.get("dimensions")) is not int
        or any(not isinstance(about.get(name, ""), str) for name in texts)
        or not {_DIGEST, "factory"} <= about.keys()
    ):
        raise _damaged(folder)
    return about


def _read_items(folder: Path) -> list[dict[str, Any] | None]:
    """Return what the ids show."""
    try:
        items = [json.loads(line) for line in (folder / ITEMS).read_bytes().splitlines()]
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(folder) from error
    if not all(item is None or _is_item(item) for item in items):
        raise _damaged(folder)
    return items


def _is_item(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("path"), str)
