"""From distances to figures: where the right answers stand in each query's ranking.

Nothing is sorted but numbers: a right answer's rank is one plus how many gallery images are nearer,
which one sort of each row and a search for all right answers give. The gallery is ordered by identity first, so
that right answers stand side by side. Equal distances rank in gallery order, as a stable sort would leave them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

PIECE = 2**21  # distances ranked at a time: few enough for the processor's cache


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
    if not np.issubdtype(distances.dtype, np.floating):
        distances = distances.astype(np.float64)
    gallery = OrderedGallery.of(gallery_ids)
    size = max(1, PIECE // max(len(gallery_ids), 1))
    parts = []
    for begin in range(0, max(len(distances), 1), size):
        rows = slice(begin, begin + size)
        hidden = None if excluded is None else gallery.order(excluded[rows])
        found = rank_in(gallery, gallery.order(distances[rows]), query_ids[rows], hidden, unique_ids)
        parts.append(found._replace(query=found.query + begin))
    return Ranking(*(np.concatenate(part) for part in zip(*parts, strict=True)))


class OrderedGallery(NamedTuple):
    """A gallery ordered by identity.

    Attributes:
        place: where each image stood before (G,).
        ids: the identities, ascending (I,).
        bounds: where each begins, and the end (I + 1,).
        in_order: whether it was in that order.
    """

    place: np.ndarray
    ids: np.ndarray
    bounds: np.ndarray
    in_order: bool

    @classmethod
    def of(cls, ids: np.ndarray) -> OrderedGallery:
        """The gallery of images of these identities (G,)."""
        place = np.argsort(ids, kind="stable")
        different, start = np.unique(ids[place], return_index=True)
        return cls(place, different, np.append(start, len(ids)), bool((np.diff(place) == 1).all()))

    def order(self, columns: np.ndarray) -> np.ndarray:
        """Columns (Q, G) for the images as they stood before, in this order."""
        return columns if self.in_order else np.take(columns, self.place, axis=1)


def rank_in(
    gallery: OrderedGallery,
    distances: np.ndarray,
    query_ids: np.ndarray,
    excluded: np.ndarray | None = None,
    unique_ids: bool = False,
) -> Ranking:
    """What :func:`rank` does for few queries, their floating-point distances to a gallery in its order."""
    if not len(gallery.place):
        none = np.zeros(0, np.int64)
        return Ranking(none, none, np.zeros(0), np.zeros(0))
    if excluded is not None:
        distances = distances.copy()
        np.copyto(distances, np.inf, where=excluded)
    return _rank_block(distances, query_ids, gallery, unique_ids)


def _rank_block(
    distances: np.ndarray, query_ids: np.ndarray, gallery: OrderedGallery, unique: bool
) -> Ranking:
    ordered = np.sort(distances, axis=1)
    if np.isnan(ordered[:, -1]).any():  # they come last
        raise ValueError("distances are not numbers: the features hold NaN or infinity")
    right = _right_answers(distances, query_ids, gallery)
    count = np.isfinite(right).sum(1)
    valid = np.nonzero(count)[0]
    if len(valid) < len(distances):
        distances, ordered, query_ids = distances[valid], ordered[valid], query_ids[valid]
        right, count = right[valid], count[valid]
    ranks = _ranks(distances, ordered, right, query_ids, gallery)
    counted = np.arange(right.shape[1]) < count[:, None]
    precision = np.divide(np.arange(1, right.shape[1] + 1), ranks, out=np.zeros(ranks.shape), where=counted)
    last = ranks[np.arange(len(ranks)), count - 1]
    first = ranks[:, 0]
    if unique:  # who is first among images is first among identities
        later = np.nonzero(first > 1)[0]
        first[later] = _identity_ranks(distances[later], right[later, :1], query_ids[later], gallery)
    return Ranking(valid, first, precision.sum(1) / count, count / last)


def _right_answers(distances: np.ndarray, query_ids: np.ndarray, gallery: OrderedGallery) -> np.ndarray:
    """Distances of each query's right answers, ascending, with infinity behind them (Q, at least 1)."""
    own = np.minimum(np.searchsorted(gallery.ids, query_ids), len(gallery.ids) - 1)
    begin, end = gallery.bounds[own], gallery.bounds[own + 1]
    end = np.where(gallery.ids[own] == query_ids, end, begin)
    columns = begin[:, None] + np.arange(max((end - begin).max(initial=0), 1))
    inside = np.minimum(columns, distances.shape[1] - 1)
    right = np.where(columns < end[:, None], np.take_along_axis(distances, inside, 1), np.inf)
    return np.sort(right, axis=1)


def _ranks(
    distances: np.ndarray,
    ordered: np.ndarray,
    right: np.ndarray,
    query_ids: np.ndarray,
    gallery: OrderedGallery,
) -> np.ndarray:
    """Rank of each right answer among its row's distances, from 1; what is infinite has none that counts."""
    nearer = torch.searchsorted(torch.from_numpy(ordered), torch.from_numpy(right)).numpy()
    follower = np.take_along_axis(ordered, np.minimum(nearer + 1, ordered.shape[1] - 1), 1)
    tied = (follower == right) & np.isfinite(right) & (nearer + 1 < ordered.shape[1])
    for row in np.nonzero(tied.any(1))[0]:
        for value in np.unique(right[row, tied[row]]):
            held = _identities_at(distances[row] == value, gallery)
            nearer[row, right[row] == value] += np.nonzero(held == query_ids[row])[0]
    return nearer + 1


def _identities_at(chosen: np.ndarray, gallery: OrderedGallery) -> np.ndarray:
    """The identities of some images of the gallery (G,), in the order in which they stood before."""
    at = np.nonzero(chosen)[0]
    at = at[np.argsort(gallery.place[at])]
    return gallery.ids[np.searchsorted(gallery.bounds, at, side="right") - 1]


def _identity_ranks(
    distances: np.ndarray, own: np.ndarray, query_ids: np.ndarray, gallery: OrderedGallery
) -> np.ndarray:
    """Rank of each query's identity, at a distance ``own`` (Q, 1), each identity standing at its nearest image."""
    nearest = np.minimum.reduceat(distances, gallery.bounds[:-1], axis=1)
    ranks = 1 + np.count_nonzero(nearest < own, axis=1)
    for row in np.nonzero(np.count_nonzero(nearest == own, axis=1) > 1)[0]:
        held = _identities_at(distances[row] == own[row], gallery)
        before = held[: np.nonzero(held == query_ids[row])[0][0]]
        ranks[row] += np.count_nonzero(np.isin(gallery.ids[nearest[row] == own[row]], before))
    return ranks


def cmc(first: np.ndarray, ranks: tuple[int, ...] = (1, 5, 10, 20)) -> dict[int, float]:
    """Share of queries whose first right answer stands at each rank or before.

    >>> cmc(np.array([1, 3]), (1, 5))
    {1: 0.5, 5: 1.0}
    """
    return {k: float(np.mean(first <= k)) for k in ranks}
