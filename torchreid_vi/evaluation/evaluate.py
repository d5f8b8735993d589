"""From features to results: one product of features for every trial of every protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.evaluation.protocols import Protocol, TestSet, Trial, excluded, trials
from torchreid_vi.evaluation.ranking import Ranking, cmc, rank
from torchreid_vi.evaluation.rerank import Reranking
from torchreid_vi.modality import Modality

RANKS = (1, 5, 10, 20)


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
        features: (N, D), in the order of ``test_set``.
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
    unit = _unit(features)
    features = unit if normalise else features
    stated = {"metric": metric, "normalised": normalise, "flip": flip, "reranking": "none"}
    cache: dict[tuple[int, int], _Distances] = {}
    results = []
    for name, protocol in protocols.items():
        sides = int(protocol.query), int(protocol.gallery)
        if sides not in cache:
            cache[sides] = _Distances(features, test_set.of("modality"), sides, metric)
        result = Result(dataset, name, protocol, stated)
        reranked = [
            Result(
                dataset,
                name,
                protocol,
                stated | {"metric": "re-ranked", "normalised": True, "reranking": str(how)},
            )
            for how in rerankings
        ]
        for trial in trials(protocol, test_set):
            _add_trial(result, cache[sides].between(trial), trial, test_set)
            for how, other in zip(rerankings, reranked, strict=True):
                versions = (_versions(unit, spectra, test_set, side, how) for side in trial)
                _add_trial(other, how(*versions), trial, test_set)
        results += [result, *reranked]
    return results


def _unit(features: np.ndarray) -> np.ndarray:
    """The features, L2-normalised."""
    return features / np.maximum(np.linalg.norm(features, axis=-1, keepdims=True), 1e-12)


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


def _add_trial(result: Result, distances: np.ndarray, trial: Trial, test_set: TestSet) -> None:
    protocol = result.protocol
    hidden = excluded(protocol, test_set, *trial)
    pids = test_set.pids
    found = rank(distances, pids[trial.query], pids[trial.gallery], hidden, protocol.unique_ids)
    queries = len(found.first)
    if not queries:
        raise InputError(
            f"protocol {protocol.mode}, {protocol.direction}: no query has a match in its gallery; "
            "check that both sides have the same identities"
        )
    figures = {f"R{k}": 100 * share for k, share in cmc(found.first, RANKS).items()}
    figures |= {"mAP": 100 * float(np.mean(found.ap)), "mINP": 100 * float(np.mean(found.inp))}
    result.trials.append(figures | {"queries": queries, "gallery": len(trial.gallery)})
    result.rankings.append(found._replace(query=trial.query[found.query]))


class _Distances:
    """All distances between two modalities, computed once for every trial that needs some of them."""

    def __init__(
        self, features: np.ndarray, modality: np.ndarray, sides: tuple[int, int], metric: str
    ) -> None:
        rows, columns = (np.nonzero(modality == side)[0] for side in sides)
        self.row, self.column = (np.full(len(modality), -1) for _ in sides)
        self.row[rows], self.column[columns] = np.arange(len(rows)), np.arange(len(columns))
        self.matrix = distance_matrix(features[rows], features[columns], metric)

    def between(self, trial: Trial) -> np.ndarray:
        rows, columns = self.row[trial.query], self.column[trial.gallery]
        if len(rows) == len(self.matrix) and (np.diff(rows) == 1).all():
            return np.take(self.matrix, columns, axis=1)
        return self.matrix[np.ix_(rows, columns)]


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
        return 1 - query @ gallery.T
    if metric == "euclidean":
        squares = (query**2).sum(1)[:, None] + (gallery**2).sum(1)[None, :]
        return squares - 2 * (query @ gallery.T)
    raise unknown_name("metric in test.dist_metric", metric, ("cosine", "euclidean"))
