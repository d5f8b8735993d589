"""Rank a gallery by distance: the rank of every match of each query, and metrics of it.

Nothing is sorted but numbers: the rank of a match is one plus how many gallery images are nearer, which one sort
of each row and a search for all matches give. Equal distances rank in gallery order, as a stable sort would leave
them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch


class Ranking(NamedTuple):
    """Ranks of the matches of each valid query; a query without a match in its gallery is left out.

    Attributes:
        query: Which queries these are (Q,), by their row in the distances.
        first: Rank of the first match (Q,), from 1; among identities when those are counted.
        ap: Average precision (Q,), in [0, 1].
        inp: Inverse negative penalty (Q,): matches over the rank of the last one, in [0, 1].
    """

    query: np.ndarray
    first: np.ndarray
    ap: np.ndarray
    inp: np.ndarray


class GalleryIds(NamedTuple):
    """Gallery images by identity.

    Attributes:
        pids: Identity of each image (G,).
        order: The images, those of an identity side by side (G,).
        known: The identities, ascending (I,).
        bounds: Where each begins in ``order``, and the end (I + 1,).
    """

    pids: np.ndarray
    order: np.ndarray
    known: np.ndarray
    bounds: np.ndarray

    @classmethod
    def of(cls, pids: np.ndarray) -> GalleryIds:
        """Return the gallery of images of these identities (G,)."""
        order = np.argsort(pids, kind="stable")
        known, start = np.unique(pids[order], return_index=True)
        return cls(pids, order, known, np.append(start, len(pids)))


def rank(
    distances: np.ndarray,
    query_ids: np.ndarray,
    gallery_ids: np.ndarray | GalleryIds,
    excluded: np.ndarray | None = None,
    unique_ids: bool = False,
) -> Ranking:
    """Rank the gallery for each query.

    Args:
        distances: (Q, G), smaller is nearer.
        query_ids: (Q,).
        gallery_ids: (G,), or made ready by :class:`GalleryIds`.
        excluded: (Q, G), true where a gallery image is not shown to a query; nowhere when left out.
        unique_ids: Count identities rather than images in ``first``, each at its nearest image.

    Raises:
        ValueError: When a distance is not a number.

    >>> found = rank(np.array([[0.1, 0.2, 0.3]]), np.array([7]), np.array([4, 7, 7]))
    >>> found.first.tolist(), found.inp.tolist()
    ([2], [0.6666666666666666])
    """
    gallery = gallery_ids if isinstance(gallery_ids, GalleryIds) else GalleryIds.of(gallery_ids)
    if not np.issubdtype(distances.dtype, np.floating):
        distances = distances.astype(np.float64)
    if not distances.size:
        none = np.zeros(0, np.int64)
        return Ranking(none, none, np.zeros(0), np.zeros(0))
    if excluded is not None:
        distances = np.where(excluded, np.inf, distances)
    ordered = np.sort(distances, axis=1)
    if np.isnan(ordered[:, -1]).any():  # they come last
        raise ValueError("distances are not numbers: the features hold NaN or infinity")
    matches = _matches(distances, query_ids, gallery)
    count = np.isfinite(matches).sum(1)
    valid = np.nonzero(count)[0]
    if len(valid) < len(distances):
        distances, ordered, query_ids = distances[valid], ordered[valid], query_ids[valid]
        matches, count = matches[valid], count[valid]
    ranks = _ranks(distances, ordered, matches, query_ids, gallery)
    counted = np.arange(matches.shape[1]) < count[:, None]
    precision = np.divide(np.arange(1, matches.shape[1] + 1), ranks, out=np.zeros(ranks.shape), where=counted)
    last = ranks[np.arange(len(ranks)), count - 1]
    first = ranks[:, 0]
    if unique_ids:  # who is first among images is first among identities
        later = np.nonzero(first > 1)[0]
        first[later] = _identity_ranks(distances[later], matches[later, :1], query_ids[later], gallery)
    return Ranking(valid, first, precision.sum(1) / count, count / last)


def _matches(distances: np.ndarray, query_ids: np.ndarray, gallery: GalleryIds) -> np.ndarray:
    """Return the distances of each query's matches, ascending, with infinity behind them (Q, at least 1)."""
    own = np.minimum(np.searchsorted(gallery.known, query_ids), len(gallery.known) - 1)
    begin, end = gallery.bounds[own], gallery.bounds[own + 1]
    end = np.where(gallery.known[own] == query_ids, end, begin)
    place = begin[:, None] + np.arange(max((end - begin).max(initial=0), 1))
    columns = gallery.order[np.minimum(place, len(gallery.order) - 1)]
    matches = np.where(place < end[:, None], np.take_along_axis(distances, columns, 1), np.inf)
    return np.sort(matches, axis=1)


def _ranks(
    distances: np.ndarray,
    ordered: np.ndarray,
    matches: np.ndarray,
    query_ids: np.ndarray,
    gallery: GalleryIds,
) -> np.ndarray:
    """Return the rank of each match in its row, from 1; that of an infinite distance does not count."""
    nearer = torch.searchsorted(torch.from_numpy(ordered), torch.from_numpy(matches)).numpy()
    follower = np.take_along_axis(ordered, np.minimum(nearer + 1, ordered.shape[1] - 1), 1)
    tied = (follower == matches) & np.isfinite(matches) & (nearer + 1 < ordered.shape[1])
    for row in np.nonzero(tied.any(1))[0]:
        for value in np.unique(matches[row, tied[row]]):
            held = gallery.pids[distances[row] == value]
            nearer[row, matches[row] == value] += np.nonzero(held == query_ids[row])[0]
    return nearer + 1


def _identity_ranks(
    distances: np.ndarray, own: np.ndarray, query_ids: np.ndarray, gallery: GalleryIds
) -> np.ndarray:
    """Return the rank of each query's identity, at a distance ``own`` (Q, 1), each at its nearest image."""
    side_by_side = (np.diff(gallery.order) == 1).all()
    by_identity = distances if side_by_side else np.take(distances, gallery.order, axis=1)
    nearest = np.minimum.reduceat(by_identity, gallery.bounds[:-1], axis=1)
    ranks = 1 + np.count_nonzero(nearest < own, axis=1)
    for row in np.nonzero(np.count_nonzero(nearest == own, axis=1) > 1)[0]:
        held = gallery.pids[distances[row] == own[row]]
        before = held[: np.nonzero(held == query_ids[row])[0][0]]
        ranks[row] += np.count_nonzero(np.isin(gallery.known[nearest[row] == own[row]], before))
    return ranks


def cmc(first: np.ndarray, ranks: tuple[int, ...] = (1, 5, 10, 20)) -> dict[int, float]:
    """Return the share of queries whose first match stands at each rank or before.

    >>> cmc(np.array([1, 3]), (1, 5))
    {1: 0.5, 5: 1.0}
    """
    return {k: float(np.mean(first <= k)) for k in ranks}
