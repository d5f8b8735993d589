"""Rankings against a plain loop over a stable sort."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchreid_vi.evaluation import cmc, rank


def by_loops(distances, query_ids, gallery_ids, excluded, unique_ids):
    query, first, ap, inp = [], [], [], []
    for i, row in enumerate(distances):
        order = [j for j in np.argsort(row, kind="stable") if not excluded[i, j]]
        ids = [gallery_ids[j] for j in order]
        hits = [position for position, pid in enumerate(ids, 1) if pid == query_ids[i]]
        if not hits:
            continue
        seen = list(dict.fromkeys(ids)) if unique_ids else ids
        query.append(i)
        first.append(seen.index(query_ids[i]) + 1)
        ap.append(sum(k / position for k, position in enumerate(hits, 1)) / len(hits))
        inp.append(len(hits) / hits[-1])
    return query, first, ap, inp


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.booleans())
def test_a_plain_loop_agrees_also_with_ties_and_exclusions(seed, unique_ids, ties):
    rng = np.random.default_rng(seed)
    q, g, ids = rng.integers(1, 12), rng.integers(1, 25), rng.integers(1, 6)
    distances = rng.uniform(size=(q, g)).astype(np.float32)
    if ties:
        distances = np.round(distances, 1)
    query_ids, gallery_ids = rng.integers(0, ids, q), rng.integers(0, ids, g)
    excluded = rng.uniform(size=(q, g)) < 0.3
    found = rank(distances, query_ids, gallery_ids, excluded, unique_ids)
    query, first, ap, inp = by_loops(distances, query_ids, gallery_ids, excluded, unique_ids)
    assert (found.query.tolist(), found.first.tolist()) == (query, first)
    np.testing.assert_allclose(found.ap, ap, atol=1e-12)
    np.testing.assert_allclose(found.inp, inp, atol=1e-12)


def test_distances_that_are_not_numbers_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        rank(np.array([[np.nan]]), np.array([0]), np.array([0]))


def test_cmc_counts_ranks_up_to_k():
    assert cmc(np.array([1, 2, 6, 21])) == {1: 0.25, 5: 0.5, 10: 0.75, 20: 0.75}
