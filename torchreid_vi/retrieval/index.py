"""Keep an index of features on disk, for galleries that are searched again and again, with FAISS.

Johnson et al. Billion-scale similarity search with GPUs. IEEE Transactions on Big Data 2019.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from torchreid_vi.errors import InputError
from torchreid_vi.extras import require
from torchreid_vi.files import atomic_path, sha256_of
from torchreid_vi.folders import expanded, in_text

VECTORS, ITEMS, ABOUT = "vectors.faiss", "items.jsonl", "about.json"
_DIGEST = "vectors_sha256"  # key of ABOUT
_SAMPLE = 200  # stored vectors that the recall is measured with
_PER_CENTROID = 39  # vectors that FAISS wants for each centroid that it learns


def empty_vectors(factory: str, dimensions: int, number: int) -> Any:
    """Return an empty index of FAISS; called before features are extracted, it checks that one can be built.

    It keeps ids, and searches more thoroughly than FAISS does by itself.

    Args:
        factory: FAISS's string for the kind of index.
        dimensions: D of the features.
        number: Number of features that will be added.

    Raises:
        InputError: For an unknown kind of index, too few features for it, or when FAISS is missing.
    """
    library = _faiss()
    try:
        vectors = library.index_factory(dimensions, factory, library.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        kind = f"{factory[:100]!r} of {dimensions} dimensions"
        raise InputError(f"FAISS makes no index {kind}: choose Flat or HNSW32") from error
    cells = library.downcast_index(library.try_extract_index_ivf(vectors))
    least = max(1, _PER_CENTROID * max(cells.nlist if cells else 0, 256 if "PQ" in factory else 0))
    if number < least:
        raise InputError(f"a {factory} index needs {least:,} images, not {number:,}: choose Flat or HNSW32")
    if hasattr(part := cells or vectors, "do_polysemous_training"):
        part.do_polysemous_training = False  # takes minutes, for a search that is not offered
    if cells:
        cells.nprobe = max(min(cells.nlist, 16), cells.nlist // 16)
        if not isinstance(vectors, library.IndexRefine):  # the others keep ids by themselves
            return vectors
    if isinstance(vectors, library.IndexHNSW):
        vectors.hnsw.efConstruction, vectors.hnsw.efSearch = 200, 128
    return vectors if isinstance(vectors, library.IndexIDMap) else library.IndexIDMap2(vectors)


def require_free(folder: Path) -> None:
    """Check that a folder to write does not exist.

    Raises:
        InputError: When it does.
    """
    if expanded(folder).exists():
        raise InputError(f"{folder} is there: name another folder for the index, or remove it")


class EmbeddingIndex:
    """Features that are searched by their inner product, with an item for each.

    Args:
        vectors: FAISS's index.
        items: Item of each id, in order; None for those that were removed.
        about: ``factory``, ``dimensions``, ``recall_at_10``, and what the caller added.
    """

    def __init__(self, vectors: Any, items: Sequence[dict[str, Any] | None], about: dict[str, Any]) -> None:
        self.vectors, self.items, self.about = vectors, list(items), about

    def __len__(self) -> int:
        return int(self.vectors.ntotal)

    @classmethod
    def build(
        cls, features: np.ndarray, items: Sequence[dict[str, Any]], factory: str = "Flat", **about: Any
    ) -> EmbeddingIndex:
        """Build an index of features and measure its recall.

        The recall at 10 is the share of the ten nearest by exact search that the index finds for some of its own
        features.

        Args:
            features: L2-normalised (N, D).
            items: N of them, each a dictionary that JSON can hold, with a text ``path``.
            factory: FAISS's string for the kind of index: ``Flat`` is exact, ``HNSW32`` fast and as large,
                ``IVF256,PQ64`` small.
            **about: Numbers and texts to keep with the index.

        Raises:
            InputError: For an unknown kind, no features, or too few of them for the kind.
        """
        features = np.ascontiguousarray(features, np.float32)
        number, dimensions = features.shape
        vectors = empty_vectors(factory, dimensions, number)
        index = cls(vectors, [], about | {"factory": factory, "dimensions": dimensions})
        if not index.vectors.is_trained:
            index.vectors.train(features)
        index.add(features, items)
        index.about["recall_at_10"] = index._recall(features)
        return index

    def add(self, features: np.ndarray, items: Sequence[dict[str, Any]]) -> None:
        """Add L2-normalised features (N, D) with an item for each; the measured recall no longer holds.

        Raises:
            InputError: For features of other dimensions.
        """
        self._check_dimensions(features)
        ids = np.arange(len(self.items), len(self.items) + len(items))
        self.vectors.add_with_ids(np.ascontiguousarray(features, np.float32), ids)
        self.items += items
        self.about.pop("recall_at_10", None)

    def remove(self, paths: Iterable[str | Path]) -> int:
        """Remove the images of some paths, or under them where they are folders; return their number.

        Raises:
            InputError: For paths without an image in the index, for all images, and for a kind of index that cannot
                shrink.
        """
        wanted, numbers, found = {Path(path) for path in paths}, [], set()
        for number, item in enumerate(self.items):
            if item and (here := wanted & {Path(item["path"]), *Path(item["path"]).parents}):
                numbers.append(number)
                found |= here
        if absent := sorted(wanted - found):
            raise InputError(f"the index has no image {absent[0]}: name paths as a search shows them")
        if len(numbers) == len(self):
            raise InputError("no image would be left: remove the folder of the index")
        try:
            self.vectors.remove_ids(np.array(numbers, np.int64))
        except RuntimeError as error:
            raise InputError(f"a {self.about['factory']} index cannot shrink: build it again") from error
        for number in numbers:
            self.items[number] = None
        self.about.pop("recall_at_10", None)
        return len(numbers)

    def search(self, features: np.ndarray, k: int = 10) -> list[list[tuple[float, dict[str, Any]]]]:
        """Return for each feature (Q, D) at most k items, the most similar first, with their similarity."""
        self._check_dimensions(features)
        scores, ids = self.vectors.search(np.ascontiguousarray(features, np.float32), min(k, len(self)))
        return [
            [(float(score), self.items[i]) for score, i in zip(*found, strict=True) if i >= 0]  # −1: none
            for found in zip(scores, ids, strict=True)
        ]

    def _check_dimensions(self, features: np.ndarray) -> None:
        shape, dimensions = features.shape, self.about["dimensions"]
        if shape[1:] != (dimensions,):
            raise InputError(f"features {shape} for an index of {dimensions} dimensions: use its weights")

    def _recall(self, features: np.ndarray) -> float:
        size, library = len(features), _faiss()
        chosen = features[np.random.default_rng(0).choice(size, min(_SAMPLE, size), replace=False)]
        k = min(10, size)
        exact = library.knn(chosen, features, k, metric=library.METRIC_INNER_PRODUCT)[1]
        found = self.vectors.search(chosen, k)[1]
        return float(np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(exact, found, strict=True)]))

    def save(self, folder: str | Path) -> None:
        """Write the index as a new folder, whole or not at all.

        Raises:
            InputError: When the folder exists or cannot be written.
        """
        folder = in_text(expanded(folder))
        require_free(folder)
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
        """Read an index that :meth:`save` wrote.

        Raises:
            InputError: When the folder is no index or its files do not belong together.
        """
        folder = expanded(folder)
        damaged = InputError(f"{folder} is no index, or damaged: build it with tools/index.py")
        try:
            about = json.loads((folder / ABOUT).read_bytes())
            items = [json.loads(line) for line in (folder / ITEMS).read_bytes().splitlines()]
            texts = [item["path"] for item in items if item is not None] + [about["factory"]]
            plain = all(isinstance(value, (str, int, float)) for value in about.values())
            if not (plain and all(isinstance(text, str) for text in texts)):
                raise damaged
            if sha256_of(folder / VECTORS) != about.pop(_DIGEST):  # FAISS may not survive a damaged file
                raise damaged
            vectors = _faiss().read_index(str(folder / VECTORS))
        except InputError:
            raise
        except Exception as error:  # whatever a damaged file makes the readers raise
            raise damaged from error
        held = sum(item is not None for item in items)
        if (held, about.get("dimensions")) != (vectors.ntotal, vectors.d):
            raise InputError(f"{folder} holds files of different indexes: build it again with tools/index.py")
        return cls(vectors, items, about)


def _faiss() -> Any:
    return require("search", "an index")[0]
