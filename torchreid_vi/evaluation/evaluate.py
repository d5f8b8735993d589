"""Evaluate features: one product of features serves every trial of every protocol."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch

from torchreid_vi.errors import unknown_name
from torchreid_vi.evaluation.draws import Trial, excluded, split_by_location, trials
from torchreid_vi.evaluation.protocols import Protocol, TestSet
from torchreid_vi.evaluation.ranking import GalleryIds, Ranking, rank
from torchreid_vi.evaluation.rerank import Reranking
from torchreid_vi.evaluation.result import Result
from torchreid_vi.modality import Modality

_ENTRIES = 2**28  # of distances, and of queries' features, in one block: 1 GiB in single precision
_PIECE = 2**19  # distances ranked at a time: few enough for the processor's cache
_GALLERY = 2**24  # of the gallery's features at a time, where there are more


def evaluate(
    features: np.ndarray,
    test_set: TestSet,
    protocols: dict[str, Protocol],
    dataset: dict[str, Any],
    metric: str = "cosine",
    normalise: bool = True,
    flip: bool = False,
    rerankings: Sequence[Reranking] = (),
    spectra: np.ndarray | None = None,
) -> list[Result]:
    """Evaluates every protocol on the features of a test set.

    Args:
        features: (N, D), in the order of ``test_set``; a memory-mapped file of half precision will do, and is
            read in blocks.
        test_set: Identities and cameras of the N images.
        protocols: Protocols by name.
        dataset: What the results say of the dataset.
        metric: ``cosine`` or ``euclidean``.
        normalise: L2-normalise the features first; the cosine always does.
        flip: Whether the features are averaged over an image and its mirror image; only stated.
        rerankings: Each adds a result to that of every protocol.
        spectra: (3, V, D) features of the V visible images, in order, with one channel in all places; for a
            re-ranking that asks for them.

    Raises:
        InputError: For an unknown metric, or a protocol the test set has no images for.
    """
    normalise = normalise or metric == "cosine"
    stated = {"metric": metric, "normalised": normalise, "flip": flip, "reranking": "none"}
    drawn = {name: list(trials(protocol, test_set)) for name, protocol in protocols.items()}
    found = _rank_all(features, test_set, protocols, drawn, metric, normalise)
    unit = _unit(np.array(features)) if rerankings else features
    results = []
    for name, protocol in protocols.items():
        results.append(Result(dataset, name, protocol, stated))
        for trial, ranking in zip(drawn[name], found[name], strict=True):
            results[-1].add(ranking, trial)
        for how in rerankings:
            other = stated | {"metric": "re-ranked", "normalised": True, "reranking": str(how)}
            results.append(Result(dataset, name, protocol, other))
            for trial in drawn[name]:
                distances = how(*(_versions(unit, spectra, test_set, side, how) for side in trial))
                query, gallery = (test_set.pids[side] for side in trial)
                hidden = excluded(protocol, test_set, *trial)
                ranking = rank(distances, query, gallery, hidden, protocol.unique_ids)
                ranking = ranking._replace(query=trial.query[ranking.query])
                results[-1].add(_joined([ranking]), trial)
    return results


def _rank_all(
    features: np.ndarray,
    test_set: TestSet,
    protocols: dict[str, Protocol],
    drawn: dict[str, list[Trial]],
    metric: str,
    normalise: bool,
) -> dict[str, list[Ranking]]:
    """Return what the queries of every trial find, numbered and in order as in the test set.

    The distances of two modalities are computed once, as many queries at a time as memory allows.
    """
    modality = test_set.of("modality")
    found: dict[str, list[list[Ranking]]] = {name: [[] for _ in trials] for name, trials in drawn.items()}
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # NumPy works outside Python's lock
        for sides in dict.fromkeys((protocol.query, protocol.gallery) for protocol in protocols.values()):
            queries, gallery = (np.nonzero(modality == side)[0] for side in sides)
            tasks = [
                (protocol, part, parts)
                for name, protocol in protocols.items()
                if (protocol.query, protocol.gallery) == sides
                for trial, parts in zip(drawn[name], found[name], strict=True)
                for part in split_by_location(protocol, test_set, trial)
            ]
            for block in _chunks(queries, _ENTRIES // max(len(gallery), features.shape[1])):
                matrix = _distances(features, block, gallery, metric, normalise)
                waiting = []
                for protocol, part, parts in tasks:
                    ranked = _ranker(matrix, block, gallery, protocol, part, test_set)
                    own = np.intersect1d(part.query, block)
                    pieces = _chunks(own, _PIECE // max(len(part.gallery), 1))
                    waiting.append((parts, pool.map(ranked, pieces)))  # which has begun
                for parts, each in waiting:
                    parts += each
                del matrix, ranked, waiting  # before there is another one
    return {name: [_joined(parts) for parts in each] for name, each in found.items()}


def _joined(parts: Sequence[Ranking]) -> Ranking:
    """Return the ranking of the queries of all parts, by their numbers."""
    whole = Ranking(*map(np.concatenate, zip(*parts, strict=True)))
    order = np.argsort(whole.query, kind="stable")
    return Ranking(*(each[order] for each in whole))


def _ranker(
    matrix: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    protocol: Protocol,
    trial: Trial,
    test_set: TestSet,
) -> Callable[[np.ndarray], Ranking]:
    """Return what ranks a trial's gallery for some of its queries.

    Args:
        matrix: Distances (Q, G) of images of the test set.
        rows, columns: Which these are, ascending.
        protocol: What is hidden, and what is counted.
        trial: The queries and the gallery.
        test_set: The images.
    """
    gallery = GalleryIds.of(test_set.pids[trial.gallery])
    shown = _run(np.searchsorted(columns, trial.gallery))

    def ranked(query: np.ndarray) -> Ranking:
        part = matrix[_run(np.searchsorted(rows, query))]
        part = part[:, shown] if isinstance(shown, slice) else np.take(part, shown, axis=1)
        hidden = None
        if protocol.exclude != "location":  # which the part of a trial has left out
            hidden = excluded(protocol, test_set, query, trial.gallery)
        found = rank(part, test_set.pids[query], gallery, hidden, protocol.unique_ids)
        return found._replace(query=query[found.query])

    return ranked


def _run(indices: np.ndarray) -> np.ndarray | slice:
    """Return indices as a slice, which copies nothing, if they follow each other."""
    if len(indices) and (np.diff(indices) == 1).all():
        return slice(indices[0], indices[-1] + 1)
    return indices


def _distances(
    features: np.ndarray, query: np.ndarray, gallery: np.ndarray, metric: str, normalise: bool
) -> np.ndarray:
    """Return the distances (Q, G) between some images and others, of which a part is read at a time."""

    def ready(images: np.ndarray) -> np.ndarray:
        return _unit(features[images]) if normalise else _full(features[images])

    ours = ready(query)
    matrix = np.empty((len(query), len(gallery)), ours.dtype)
    for columns in _chunks(np.arange(len(gallery)), _GALLERY // features.shape[1]):
        matrix[:, columns[0] : columns[-1] + 1] = distance_matrix(ours, ready(gallery[columns]), metric)
    return matrix


def _full(features: np.ndarray) -> np.ndarray:
    """Return features in single precision if they were in half."""
    if features.dtype != np.float16:
        return features
    # PyTorch converts with all cores.
    found: np.ndarray = torch.from_numpy(features).float().numpy()
    return found


def _unit(features: np.ndarray) -> np.ndarray:
    """L2-normalise features in place, in single precision at least."""
    features = _full(features)
    whole = torch.from_numpy(features)
    whole /= torch.linalg.vector_norm(whole, dim=-1, keepdim=True).clamp(min=1e-12)
    return features


def _versions(
    features: np.ndarray, spectra: np.ndarray | None, test_set: TestSet, side: np.ndarray, how: Reranking
) -> list[np.ndarray]:
    """Features of one side of a trial, in all versions if it is visible and they are asked for."""
    versions = [features[side]]
    visible = test_set.of("modality") == Modality.VISIBLE
    if how.spectra and visible[side].all():
        if spectra is None:
            raise ValueError(f"{how.name} needs the features of visible images in each spectrum")
        place = np.cumsum(visible) - 1
        versions += [_unit(spectrum[place[side]]) for spectrum in spectra]
    return versions


def _chunks(indices: np.ndarray, size: int) -> list[np.ndarray]:
    """Return indices in chunks of at most ``size``, but at least one each; a single empty one of none."""
    size = max(size, 1)
    return [indices[start : start + size] for start in range(0, max(len(indices), 1), size)]


def distance_matrix(query: np.ndarray, gallery: np.ndarray, metric: str) -> np.ndarray:
    """Distances (Q, G) between features (Q, D) and (G, D).

    Args:
        query, gallery: Features of either side.
        metric: ``cosine``: one less the inner product, for L2-normalised features; ``euclidean``: the
            squared Euclidean distance, which ranks as the Euclidean one does.

    >>> distance_matrix(np.eye(2), np.eye(2), "cosine")
    array([[0., 1.],
           [1., 0.]])
    """
    if metric == "cosine":
        product = query @ gallery.T
        return np.subtract(1, product, out=product)
    if metric == "euclidean":
        product = query @ gallery.T
        product *= -2
        product += (query**2).sum(1)[:, None]
        product += (gallery**2).sum(1)
        return product
    raise unknown_name("metric in test.dist_metric", metric, ("cosine", "euclidean"))
