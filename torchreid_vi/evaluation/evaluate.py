"""From features to results: one product of features for every trial of every protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch

from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.evaluation.protocols import Protocol, TestSet, Trial, excluded, shown_alike, trials
from torchreid_vi.evaluation.ranking import PIECE, OrderedGallery, Ranking, cmc, rank, rank_in
from torchreid_vi.evaluation.rerank import Reranking
from torchreid_vi.modality import Modality

RANKS = (1, 5, 10, 20)
_ENTRIES = 2**28  # of distances, and of queries' features, in one block: 1 GiB in single precision
_GALLERY = 2**24  # of the gallery's features at a time, where there are more


@dataclass(frozen=True)
class Result:
    """The figures of one protocol, with all that is needed to compare them.

    Attributes:
        dataset: name, and whether it is synthetic and which split was used.
        name: the protocol's name in its family.
        protocol: what was compared with what.
        settings: metric, normalisation, flip averaging and re-ranking.
        trials: for each trial its figures in percent, and its numbers of queries and gallery images.
        rankings: for each trial what every query found; queries are numbered as in the test set.
    """

    dataset: dict[str, Any]
    name: str
    protocol: Protocol
    settings: dict[str, Any]
    trials: list[dict[str, float]] = field(default_factory=list)
    rankings: list[Ranking] = field(default_factory=list, repr=False)

    @property
    def label(self) -> str:
        """The protocol's name, and the re-ranking's if there is one."""
        how = self.settings["reranking"]
        return self.name if how == "none" else f"{self.name} + {how.split(' (')[0]}"

    def mean(self, figure: str) -> float:
        """Mean of a figure (``R1``, ``mAP``, …) over the trials, in percent."""
        return float(np.mean([trial[figure] for trial in self.trials]))

    def std(self, figure: str) -> float:
        """Standard deviation of a figure over the trials, in points."""
        return float(np.std([trial[figure] for trial in self.trials]))

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        figures = [f"R{k}" for k in RANKS] + ["mAP", "mINP"]
        what = {key: getattr(self.protocol, key) for key in ("mode", "direction", "draw", "drawn", "shots")}
        what |= {"cmc_counts": "identities" if self.protocol.unique_ids else "images"}
        what |= {"not_shown": self.protocol.exclude, "trials": len(self.trials)}
        return {
            "label": self.label,
            "dataset": self.dataset,
            "protocol": {"name": self.name} | what,
            "settings": self.settings,
            "mean": {figure: round(self.mean(figure), 4) for figure in figures},
            "std": {figure: round(self.std(figure), 4) for figure in figures},
            "trials": self.trials,
        }


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
        test_set: identities and cameras of the N images.
        protocols: by name.
        dataset: what the results say of the dataset.
        metric: ``cosine`` or ``euclidean``.
        normalise: L2-normalise the features first; the cosine always does.
        flip: whether the features are averaged over an image and its mirror image; only stated.
        rerankings: each adds a result to that of every protocol.
        spectra: (3, V, D) features of the V visible images, in order, with one channel in all places; for a
            re-ranking that asks for them.

    Raises:
        InputError: for an unknown metric, or a protocol the test set has no images for.
    """
    normalise = normalise or metric == "cosine"
    stated = {"metric": metric, "normalised": normalise, "flip": flip, "reranking": "none"}
    drawn = {name: list(trials(protocol, test_set)) for name, protocol in protocols.items()}
    tasks = {
        name: [
            [_Part.of(protocol, part, test_set.pids) for part in shown_alike(protocol, test_set, trial)]
            for trial in drawn[name]
        ]
        for name, protocol in protocols.items()
    }
    for sides in dict.fromkeys((protocol.query, protocol.gallery) for protocol in protocols.values()):
        chosen = [
            part
            for name, protocol in protocols.items()
            if (protocol.query, protocol.gallery) == sides
            for parts in tasks[name]
            for part in parts
        ]
        for block in _blocks(features, test_set.of("modality"), sides, metric, normalise):
            pieces = [(part, piece) for part in chosen for piece in block.pieces(part.trial)]

            def ranked(of: tuple[_Part, Trial], block: _Block = block) -> Ranking:
                return _rank(of[0], block.between(of[1]), of[1].query, test_set)

            with ThreadPoolExecutor(torch.get_num_threads()) as pool:  # NumPy works outside Python's lock
                for (part, _), found in zip(pieces, pool.map(ranked, pieces), strict=True):
                    part.found.append(found)
    unit = _unit(np.array(features)) if rerankings else features
    results = []
    for name, protocol in protocols.items():
        results.append(Result(dataset, name, protocol, stated))
        for trial, parts in zip(drawn[name], tasks[name], strict=True):
            _add_trial(results[-1], _together([found for part in parts for found in part.found]), trial)
        for how in rerankings:
            other = stated | {"metric": "re-ranked", "normalised": True, "reranking": str(how)}
            results.append(Result(dataset, name, protocol, other))
            for trial in drawn[name]:
                distances = how(*(_versions(unit, spectra, test_set, side, how) for side in trial))
                query, gallery = (test_set.pids[side] for side in trial)
                hidden = excluded(protocol, test_set, *trial)
                found = rank(distances, query, gallery, hidden, protocol.unique_ids)
                _add_trial(results[-1], _together([found._replace(query=trial.query[found.query])]), trial)
    return results


class _Part(NamedTuple):
    """Queries of a trial that are shown the same cameras, these ordered for ranking, and what some have found."""

    protocol: Protocol
    trial: Trial
    gallery: OrderedGallery
    found: list[Ranking]

    @classmethod
    def of(cls, protocol: Protocol, part: Trial, pids: np.ndarray) -> _Part:
        gallery = OrderedGallery.of(pids[part.gallery])
        return cls(protocol, part._replace(gallery=part.gallery[gallery.place]), gallery, [])


def _rank(part: _Part, distances: np.ndarray, queries: np.ndarray, test_set: TestSet) -> Ranking:
    """What some queries of a part find; they are numbered as in the test set."""
    hidden = None
    if part.protocol.exclude != "location":  # which the part has left out
        hidden = excluded(part.protocol, test_set, queries, part.trial.gallery)
    found = rank_in(part.gallery, distances, test_set.pids[queries], hidden, part.protocol.unique_ids)
    return found._replace(query=queries[found.query])


def _together(found: list[Ranking]) -> Ranking:
    """What all queries of a trial have found, in the order of the test set."""
    whole = Ranking(*(np.concatenate(each) for each in zip(*found, strict=True)))
    order = np.argsort(whole.query, kind="stable")
    return Ranking(*(each[order] for each in whole))


def _full(features: np.ndarray) -> np.ndarray:
    """The features, in single precision if they were in half."""
    if features.dtype != np.float16:
        return features
    # PyTorch converts with all cores.
    found: np.ndarray = torch.from_numpy(features).float().numpy()
    return found


def _unit(features: np.ndarray) -> np.ndarray:
    """The features, L2-normalised in place, in single precision at least."""
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


def _add_trial(result: Result, found: Ranking, trial: Trial) -> None:
    queries = len(found.first)
    if not queries:
        raise InputError(
            f"protocol {result.protocol.mode}, {result.protocol.direction}: no query has a match in its "
            "gallery; check that both sides have the same identities"
        )
    figures = {f"R{k}": 100 * share for k, share in cmc(found.first, RANKS).items()}
    figures |= {"mAP": 100 * float(np.mean(found.ap)), "mINP": 100 * float(np.mean(found.inp))}
    result.trials.append(figures | {"queries": queries, "gallery": len(trial.gallery)})
    result.rankings.append(found)


class _Block(NamedTuple):
    """Distances of some images of one modality to all of another's, until the next block takes their place.

    Attributes:
        row, column: where each image of the test set stands in ``matrix`` (N,), −1 where it does not.
        matrix: (rows or more, columns).
    """

    row: np.ndarray
    column: np.ndarray
    matrix: np.ndarray

    def pieces(self, trial: Trial) -> list[Trial]:
        """The part of a trial whose queries have a row here, in pieces that a processor's cache can hold."""
        queries = trial.query[self.row[trial.query] >= 0]
        return [Trial(some, trial.gallery) for some in _chunks(queries, PIECE // max(len(trial.gallery), 1))]

    def between(self, trial: Trial) -> np.ndarray:
        """The distances of a trial whose queries all have a row here."""
        rows, columns = self.row[trial.query], self.column[trial.gallery]
        part = self.matrix[rows[0] : rows[-1] + 1] if _in_a_row(rows) else self.matrix[rows]
        whole = len(columns) == part.shape[1] and _in_a_row(columns)
        return part if whole else np.take(part, columns, axis=1)


def _in_a_row(indices: np.ndarray) -> bool:
    return len(indices) > 0 and bool((np.diff(indices) == 1).all())


def _blocks(
    features: np.ndarray, modality: np.ndarray, sides: tuple[Modality, Modality], metric: str, normalise: bool
) -> Iterator[_Block]:
    """All distances between two modalities, computed once, as many queries at a time as memory allows."""
    queries, gallery = (np.nonzero(modality == side)[0] for side in sides)
    column = np.full(len(modality), -1)
    column[gallery] = np.arange(len(gallery))

    def ready(images: np.ndarray) -> np.ndarray:
        return _unit(features[images]) if normalise else _full(features[images])

    chunks = _chunks(gallery, _GALLERY // features.shape[1])
    whole = ready(gallery) if len(chunks) == 1 else None
    matrix = np.empty((0, len(gallery)))
    for block in _chunks(queries, _ENTRIES // max(len(gallery), features.shape[1])):
        query = ready(block)
        if whole is not None:
            matrix = distance_matrix(query, whole, metric)
        else:
            if len(matrix) < len(block):  # the first one; the last may be smaller
                matrix = np.empty((len(block), len(gallery)), query.dtype)
            for chunk in chunks:
                place = slice(column[chunk[0]], column[chunk[-1]] + 1)
                matrix[: len(block), place] = distance_matrix(query, ready(chunk), metric)
        row = np.full(len(modality), -1)
        row[block] = np.arange(len(block))
        yield _Block(row, column, matrix)


def _chunks(indices: np.ndarray, size: int) -> list[np.ndarray]:
    """Indices in runs of at most ``size``, at least one each."""
    size = max(size, 1)
    return [indices[start : start + size] for start in range(0, max(len(indices), 1), size)]


def distance_matrix(query: np.ndarray, gallery: np.ndarray, metric: str) -> np.ndarray:
    """Distances (Q, G) between features (Q, D) and (G, D).

    Args:
        query, gallery: features of either side.
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
