"""Evaluation in blocks: what is compared a few images at a time gives what everything at once does."""

import importlib
from itertools import chain

import numpy as np
import pytest
from random_test_set import make_test_set

from torchreid_vi.data import DATASETS
from torchreid_vi.evaluation import PROTOCOLS, Reranking, evaluate, ranking

evaluating = importlib.import_module("torchreid_vi.evaluation.evaluate")  # the name is also the function's


def figures(features, test_set, family):
    results = evaluate(features, test_set, PROTOCOLS[family], {"name": family, "split": 0})
    order = [[np.argsort(found.query) for found in result.rankings] for result in results]
    found = [
        [[array[o].tolist() for array in found] for found, o in zip(result.rankings, orders, strict=True)]
        for result, orders in zip(results, order, strict=True)
    ]
    return [result.trials for result in results], found


def assert_same(found, expected):
    """Equal queries and first ranks; precisions may have been summed in another order."""
    for one, other in zip(chain(*found), chain(*expected), strict=True):
        assert one[:2] == other[:2]
        np.testing.assert_allclose(one[2:], other[2:], rtol=1e-12)


@pytest.mark.parametrize(("family", "entries"), [("sysu_mm01", 100), ("regdb", 1), ("llcm", 1000)])
def test_blocks_of_any_size_give_the_same_rankings(family, entries, monkeypatch):
    features, test_set = make_test_set(DATASETS[family].cameras, 3)
    trials, found = figures(features, test_set, family)
    for name in ("_ENTRIES", "_GALLERY", "_PIECE"):
        monkeypatch.setattr(evaluating, name, entries)
    blocks = []
    plain = evaluating.distance_matrix
    monkeypatch.setattr(evaluating, "distance_matrix", lambda *args: blocks.append(1) or plain(*args))
    in_blocks, also_found = figures(features, test_set, family)
    assert len(blocks) > 3
    assert_same(also_found, found)
    for trial, other in zip(chain(*trials), chain(*in_blocks), strict=True):
        assert other == pytest.approx(trial, rel=1e-12)


def test_features_come_from_a_file_of_half_precision(tmp_path, monkeypatch):
    features, test_set = make_test_set(DATASETS["regdb"].cameras, 5)
    file = np.memmap(tmp_path / "features.f16", np.float16, "w+", shape=features.shape)
    file[:] = features
    _, expected = figures(np.asarray(file, np.float32), test_set, "regdb")
    monkeypatch.setattr(evaluating, "_ENTRIES", 700)
    monkeypatch.setattr(evaluating, "_GALLERY", 700)
    assert_same(figures(file, test_set, "regdb")[1], expected)


def test_re_ranking_takes_features_of_half_precision():
    features, test_set = make_test_set(DATASETS["regdb"].cameras, 9)
    half = (1000 * features).astype(np.float16)  # whose norms are infinite in half precision
    how = [Reranking("k-reciprocal", 20, 6, 0.3)]
    about = {"name": "regdb", "split": 0}
    found = evaluate(half, test_set, PROTOCOLS["regdb"], about, rerankings=how)
    expected = evaluate(half.astype(np.float32), test_set, PROTOCOLS["regdb"], about, rerankings=how)
    assert [result.trials for result in found] == [result.trials for result in expected]


def test_ranking_takes_whole_numbers_and_galleries_without_images():
    distances, query, gallery = np.array([[3, 1, 2], [5, 5, 4]]), np.array([7, 8]), np.array([7, 8, 7])
    hidden = np.array([[False, True, False], [False, False, False]])
    for excluded in (None, hidden):
        found = ranking.rank(distances, query, gallery, excluded)
        exact = ranking.rank(distances.astype(float), query, gallery, excluded)
        assert all(np.array_equal(a, b) for a, b in zip(found, exact, strict=True))
    empty = ranking.rank(np.zeros((2, 0)), query, gallery[:0])
    assert [len(array) for array in empty] == [0, 0, 0, 0]
