"""Choose the similarity from which two images count as one person, by precision and recall on labelled images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from torchreid_vi.data import VIDataset
from torchreid_vi.errors import InputError
from torchreid_vi.modality import as_modality
from torchreid_vi.retrieval.extractor import FeatureExtractor


class Point(NamedTuple):
    """Precision and recall at a threshold.

    Attributes:
        threshold: Least similarity that counts as one person.
        precision: Share of one person's pairs among the accepted pairs.
        recall: Share of one person's pairs that are accepted.
        accepted: Number of accepted pairs.
    """

    threshold: float
    precision: float
    recall: float
    accepted: int


def pairs(
    dataset: VIDataset, extractor: FeatureExtractor, query: str = "infrared", gallery: str = "visible"
) -> tuple[np.ndarray, np.ndarray]:
    """Return the similarity of pairs of test images, and which of them show one person.

    Args:
        dataset: A dataset with identities.
        extractor: Embeds its images.
        query: Modality of the first image of each pair.
        gallery: Modality of the second; within one modality, no image is paired with itself.

    Returns:
        Cosines (P,) and booleans (P,).

    Raises:
        InputError: For an unknown modality, and when the pairs do not show both one person and two.
    """
    sides = as_modality(query), as_modality(gallery)
    items = {item[0]: item for item in (*dataset.query, *dataset.gallery)}.values()
    embedded = {}
    for modality in set(sides):
        own = [item for item in items if dataset.modality(item) is modality]
        features, readable = extractor.files([item[0] for item in own], modality)
        embedded[modality] = features, np.array([own[number][1] for number in readable])
    (first, first_pids), (second, second_pids) = (embedded[side] for side in sides)
    chosen = np.ones((len(first), len(second)), bool)
    if sides[0] is sides[1]:
        chosen = np.triu(chosen, 1)
    similarity, same = (first @ second.T)[chosen], (first_pids[:, None] == second_pids)[chosen]
    if not same.any() or same.all():
        raise InputError(f"{dataset.root} needs two test people, one of them in both modalities")
    return similarity, same


class Curve:
    """Precision and recall over all thresholds.

    Args:
        similarity: Similarity of pairs, of any shape.
        same: Which of the pairs show one person, of that shape.

    >>> curve = Curve(np.array([0.9, 0.6, 0.4, 0.1]), np.array([True, True, False, True]))
    >>> curve.at(0.5)
    Point(threshold=0.5, precision=1.0, recall=0.6666666666666666, accepted=2)
    >>> curve.best().threshold, curve.best(precision=1.0).threshold
    (0.1, 0.6)
    """

    def __init__(self, similarity: np.ndarray, same: np.ndarray) -> None:
        order = np.argsort(-similarity, axis=None, kind="stable")
        self.similarity = similarity.ravel()[order].astype(float)
        self.hits = np.cumsum(same.ravel()[order])

    def at(self, threshold: float) -> Point:
        """Return the point of a threshold; the precision is 1 where it accepts nothing."""
        accepted = int(np.searchsorted(-self.similarity, -threshold, side="right"))
        hits = int(self.hits[accepted - 1]) if accepted else 0
        return Point(threshold, hits / accepted if accepted else 1.0, hits / int(self.hits[-1]), accepted)

    def best(self, precision: float | None = None) -> Point:
        """Return the point of the highest F1, or the one of the highest recall with at least a precision.

        Raises:
            InputError: When no threshold reaches the precision.
        """
        last = np.append(np.diff(self.similarity) < 0, True)  # of several equal similarities all are accepted
        accepted = np.flatnonzero(last) + 1
        hits = self.hits[accepted - 1]
        score = 2 * hits / (accepted + self.hits[-1])  # F1
        if precision is not None:
            enough = hits >= precision * accepted
            if not enough.any():
                most = (hits / accepted).max()
                raise InputError(
                    f"no threshold reaches a precision of {precision:.0%}: {most:.0%} is the most"
                )
            score = np.where(enough, hits, -1)
        return self.at(float(self.similarity[accepted[np.argmax(score)] - 1]))
