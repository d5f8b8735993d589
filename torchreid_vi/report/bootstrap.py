"""Test whether a difference between two methods is larger than the choice of queries makes it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Difference(NamedTuple):
    """How much better one method is than another.

    Attributes:
        mean: Mean over queries.
        low: Lower bound of the 95% interval.
        high: Upper bound of the 95% interval.
    """

    mean: float
    low: float
    high: float

    @property
    def beyond_noise(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low > 0 or self.high < 0


def paired_bootstrap(first: np.ndarray, second: np.ndarray, samples: int = 2000, seed: int = 0) -> Difference:
    """Return the mean of ``first − second`` with its percentile interval over resampled queries.

    Queries are sampled with replacement, the same for both methods, so what makes a query hard for both
    cancels out. The interval is about other queries of the same people and cameras; it says nothing about
    other seeds.

    Args:
        first: Score of each query by one method (Q,).
        second: Score of each query by the other method (Q,), in the same order.
        samples: Number of times that the queries are resampled.
        seed: Random seed.

    Raises:
        ValueError: When the two are not scores of the same queries.

    >>> paired_bootstrap(np.ones(50), np.zeros(50))
    Difference(mean=1.0, low=1.0, high=1.0)
    """
    number = len(first)
    if first.shape != second.shape or first.ndim != 1 or not number:
        raise ValueError(
            f"expected two scores (Q,) of the same queries, got {first.shape} and {second.shape}"
        )
    difference = first - second
    counts = np.random.default_rng(seed).multinomial(number, np.full(number, 1 / number), samples)
    low, high = np.percentile(counts @ difference / number, [2.5, 97.5])
    return Difference(float(difference.mean()), float(low), float(high))
