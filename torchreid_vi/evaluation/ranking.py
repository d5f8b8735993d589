"""From distances to figures: where the right answers stand in each query's ranking.

Nothing is sorted but numbers: a right answer's rank is one plus how many gallery images are nearer,
which one sort of each row and a search for each right answer give. Equal distances rank in gallery
order, as a stable sort would leave them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_ENTRIES = 2**24  # distances ranked at a time, which bounds memory


class Ranking(NamedTuple):
    """What each valid query found; a query without a right answer in its gallery is left out.

    Attributes:
        query: which queries these are (Q,), by their row in the distances.
        first: rank of the first right answer (Q,), from 1; among identities when those are counted.
        ap: average precision (Q,), in [0, 1].
        inp: inverse negative penalty (Q,): right answers over the rank of the last one, in [0, 1].
    """

    query: np.ndarray
    first: np.ndarray
    ap: np.ndarray
    inp: np.ndarray


def rank(
    distances: np.ndarray,
    query_ids: np.ndarray,
    gallery_ids: np.ndarray,
    excluded: np.ndarray | None = None,
    unique_ids: bool = False,
) -> Ranking:
    """Ranks the gallery for each query.

    Args:
        distances: (Q, G), smaller is nearer.
        query_ids: (Q,).
        gallery_ids: (G,).
        excluded: (Q, G), true where a gallery image is not shown to a query; nowhere when left out.
        unique_ids: count identities rather than images in ``first``, each at its nearest image.

    Raises:
        ValueError: when a distance is not a number.

    >>> found = rank(np.array([[0.1, 0.2, 0.3]]), np.array([7]), np.array([4, 7, 7]))
    >>> found.first.tolist(), found.inp.tolist()
    ([2], [0.6666666666666666])
    """
    parts = []
    size = max(1, _ENTRIES // max(len(gallery_ids), 1))
    for start in range(0, max(len(distances), 1), size):
        rows = slice(start, start + size)
        shown = distances[rows]
        if np.isnan(shown).any():
            raise ValueError("distances are not numbers: the features hold NaN or infinity")
        if excluded is not None:
            shown = np.where(excluded[rows], np.inf, shown)
        found = _rank_block(shown, query_ids[rows], gallery_ids, unique_ids)
        parts.append(found._replace(query=found.query + start))
    return Ranking(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _rank_block(
    distances: np.ndarray, query_ids: np.ndarray, gallery_ids: np.ndarray, unique: bool
) -> Ranking:
    row, column = np.nonzero((query_ids[:, None] == gallery_ids[None, :]) & np.isfinite(distances))
    ranks = _ranks(distances, row, column)
    order = np.lexsort((ranks, row))
    row, ranks = row[order], ranks[order]
    valid, start, count = np.unique(row, return_index=True, return_counts=True)
    position = np.arange(len(row)) - np.repeat(start, count) + 1
    ap = np.add.reduceat(position / ranks, start) / count if len(row) else np.zeros(0)
    first = ranks[start]
    if unique:
        first = _identity_ranks(distances[valid], query_ids[valid], gallery_ids)
    return Ranking(valid, first, ap, count / ranks[start + count - 1])


def _ranks(distances: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Rank of each entry (row, column) in its row, from 1; ``row`` is sorted."""
    ordered = np.sort(distances, axis=1)
    sought = distances[row, column]
    bounds = np.searchsorted(row, np.arange(len(distances) + 1))
    ranks = np.empty(len(row), dtype=np.int64)
    last = np.empty(len(row), dtype=np.int64)
    for i in np.unique(row):
        part = slice(bounds[i], bounds[i + 1])
        ranks[part] = np.searchsorted(ordered[i], sought[part], side="left")
        last[part] = np.searchsorted(ordered[i], sought[part], side="right")
    for tied in np.nonzero(last - ranks > 1)[0]:
        ranks[tied] += np.count_nonzero(distances[row[tied], : column[tied]] == sought[tied])
    return ranks + 1


def _identity_ranks(distances: np.ndarray, query_ids: np.ndarray, gallery_ids: np.ndarray) -> np.ndarray:
    """Rank of each query's identity among the gallery's, each standing at its nearest image."""
    by_id = np.argsort(gallery_ids, kind="stable")
    ids, start = np.unique(gallery_ids[by_id], return_index=True)
    nearest = np.minimum.reduceat(distances[:, by_id], start, axis=1)
    own = nearest[np.arange(len(query_ids)), np.searchsorted(ids, query_ids)][:, None]
    ranks = 1 + np.count_nonzero(nearest < own, axis=1)
    for i in np.nonzero(np.count_nonzero(nearest == own, axis=1) > 1)[0]:
        at = np.nonzero(distances[i] == own[i])[0]
        before = gallery_ids[at[: np.nonzero(gallery_ids[at] == query_ids[i])[0][0]]]
        ranks[i] += np.count_nonzero(np.isin(ids[nearest[i] == own[i]], before))
    return ranks


def cmc(first: np.ndarray, ranks: tuple[int, ...] = (1, 5, 10, 20)) -> dict[int, float]:
    """Share of queries whose first right answer stands at each rank or before.

    >>> cmc(np.array([1, 3]), (1, 5))
    {1: 0.5, 5: 1.0}
    """
    return {k: float(np.mean(first <= k)) for k in ranks}
