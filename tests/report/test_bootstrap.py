"""The paired bootstrap: coverage on known differences, pairing, and by plain resampling."""

import numpy as np
import pytest

from torchreid_vi.report import paired_bootstrap


def test_the_interval_is_that_of_plain_resampling():
    rng = np.random.default_rng(1)
    first, second = rng.normal(1, 1, 80), rng.normal(0, 1, 80)
    found = paired_bootstrap(first, second)
    means = [np.mean((first - second)[rng.integers(0, 80, 80)]) for _ in range(4000)]
    assert found.mean == pytest.approx(np.mean(first - second))
    assert found.low == pytest.approx(np.percentile(means, 2.5), abs=0.03)
    assert found.high == pytest.approx(np.percentile(means, 97.5), abs=0.03)


def test_noise_is_called_noise_about_nineteen_times_in_twenty():
    rng = np.random.default_rng(0)
    wrong = sum(paired_bootstrap(*rng.normal(size=(2, 200)), samples=400).beyond_noise for _ in range(300))
    assert 4 <= wrong <= 30


def test_the_same_call_gives_the_same_interval_and_the_reverse_its_negative():
    first, second = np.random.default_rng(0).normal(size=(2, 50))
    one, other = paired_bootstrap(first, second), paired_bootstrap(second, first)
    assert one == paired_bootstrap(first, second)
    assert (one.mean, one.low, one.high) == pytest.approx((-other.mean, -other.high, -other.low))


def test_scores_of_other_queries_are_refused():
    with pytest.raises(ValueError, match="same queries"):
        paired_bootstrap(np.zeros(3), np.zeros(4))
