"""Re-ranking: distances that also ask who else is near, from all queries at once.

Zhong et al. Re-ranking Person Re-identification with k-reciprocal Encoding. CVPR 2017.
MSER, multi-spectral enhanced ranking: MCJA's journal version, 10.1109/TCSVT.2024.3377252.

Both need all queries at once, which a search does not have, so their metrics are reported beside those without
re-ranking, never in their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from torchreid_vi.errors import InputError

_BLOCK = 512  # rows sorted at a time, which bounds memory


@dataclass(frozen=True)
class Reranking:
    """k-reciprocal re-ranking and its relatives.

    Attributes:
        name: Name in tables.
        k1: Neighbours that have to find each other.
        k2: Neighbours whose encodings are averaged.
        weight: λ of the distance itself beside the Jaccard distance, in [0, 1].
        expand: Also take in the reciprocal neighbours' own, where two thirds of them are shared.
        among_queries: Look for neighbours among the queries alone.
        spectra: Compare visible images in four versions: as they are, and each channel in all places.

    Raises:
        InputError: For a number of neighbours below 1, or a weight outside of its range.
    """

    name: str
    k1: int
    k2: int
    weight: float
    expand: bool = True
    among_queries: bool = False
    spectra: bool = False

    def __post_init__(self) -> None:
        if self.k1 < 1 or self.k2 < 1 or not 0 <= self.weight <= 1:
            raise InputError(
                f"{self.name} has k1 {self.k1}, k2 {self.k2} and weight {self.weight}: neighbours are at least "
                "1, the weight lies in [0, 1]"
            )

    def __str__(self) -> str:
        settings = f"k1 {self.k1}, k2 {self.k2}, λ {self.weight:g}"
        return f"{self.name} ({settings}{', among queries' * self.among_queries}), transductive"

    def __call__(self, query: Sequence[np.ndarray], gallery: Sequence[np.ndarray]) -> np.ndarray:
        """Distances (Q, G), the mean over versions.

        Args:
            query: L2-normalised features (Q, D), one array for each version of the images.
            gallery: The same of the gallery (G, D).
        """
        features = np.concatenate([*query, *gallery])
        distances = _rerank(features, sum(map(len, query)), self)
        versions = distances.reshape(len(query), len(query[0]), len(gallery), len(gallery[0]))
        return versions.mean((0, 2))


def _rerank(features: np.ndarray, queries: int, how: Reranking) -> np.ndarray:
    """Re-ranked distances (Q, N − Q) of the first Q of N features to the others."""
    squares = (features**2).sum(1)
    distances = np.maximum(squares[:, None] + squares[None, :] - 2 * features @ features.T, 0)
    np.fill_diagonal(distances, 0)
    near = _nearest(distances[:, : queries if how.among_queries else None], max(how.k1 + 1, how.k2))
    mutual = _reciprocal(near, how.k1)
    if how.expand:
        mutual = _expanded(mutual, _reciprocal(near, round(how.k1 / 2)))
    rows, columns = mutual.nonzero()
    farthest = np.maximum(distances.max(1), np.finfo(distances.dtype).tiny)  # all may be one point
    weights = np.exp(-distances[rows, columns] / farthest[rows])
    encoding = _matrix(rows, columns, weights / np.bincount(rows, weights)[rows], len(distances))
    encoding = _mean_of(near[:, : how.k2]) @ encoding
    plain = distances[:queries, queries:] / farthest[:queries, None]
    return (1 - how.weight) * _jaccard(encoding[:queries], encoding[queries:]) + how.weight * plain


def _nearest(distances: np.ndarray, k: int) -> np.ndarray:
    """Indices of the k smallest of each row, or of as many as there are, in ascending order."""
    k = min(k, distances.shape[1])
    parts = []
    for start in range(0, len(distances), _BLOCK):
        block = distances[start : start + _BLOCK]
        some = np.argpartition(block, k - 1, axis=1)[:, :k]
        order = np.argsort(np.take_along_axis(block, some, axis=1), axis=1, kind="stable")
        parts.append(np.take_along_axis(some, order, axis=1))
    return np.concatenate(parts)


def _matrix(rows: np.ndarray, columns: np.ndarray, values: np.ndarray, size: int) -> scipy.sparse.csr_array:
    return scipy.sparse.csr_array((values.astype(np.float32), (rows, columns)), shape=(size, size))


def _reciprocal(near: np.ndarray, k: int) -> scipy.sparse.csr_array:
    """Ones (N, N) where each of two is among the other's k nearest, itself aside."""
    near = near[:, : k + 1]
    rows = np.repeat(np.arange(len(near)), near.shape[1])
    found = _matrix(rows, near.ravel(), np.ones(near.size), len(near))
    return found.multiply(found.T).tocsr()


def _expanded(mutual: scipy.sparse.csr_array, half: scipy.sparse.csr_array) -> scipy.sparse.csr_array:
    """Adds the closer reciprocal neighbours of each neighbour who shares more than two thirds of them."""
    shared = mutual.multiply(mutual @ half.T).tocoo()
    enough = shared.data > 2 / 3 * half.sum(1)[shared.col]
    chosen = _matrix(shared.row[enough], shared.col[enough], np.ones(enough.sum()), mutual.shape[0])
    return (mutual + chosen @ half).sign().tocsr()


def _mean_of(near: np.ndarray) -> scipy.sparse.csr_array:
    """Return the matrix (N, N) that averages over the given neighbours of each row."""
    rows = np.repeat(np.arange(len(near)), near.shape[1])
    return _matrix(rows, near.ravel(), np.full(near.size, 1 / near.shape[1]), len(near))


def _jaccard(query: scipy.sparse.csr_array, gallery: scipy.sparse.csr_array) -> np.ndarray:
    """One less the share of common weight (Q, G) of encodings (Q, N) and (G, N), whose rows sum to one."""
    by_column = gallery.T.toarray()  # (N, G)
    result = np.empty((query.shape[0], gallery.shape[0]), dtype=np.float32)
    for i in range(query.shape[0]):
        entries = slice(query.indptr[i], query.indptr[i + 1])
        columns, weights = query.indices[entries], query.data[entries]
        common = np.minimum(by_column[columns], weights[:, None]).sum(0)
        result[i] = 1 - common / (2 - common)
    return result
