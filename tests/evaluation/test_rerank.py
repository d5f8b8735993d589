"""Re-ranking against torchreid's, against plain loops, and at the size of SYSU-MM01."""

import math

import numpy as np
import pytest
import torchreid

from torchreid_vi.data import DATASETS
from torchreid_vi.evaluation import PROTOCOLS, Reranking, TestSet, evaluate, format_table, rank, trials
from torchreid_vi.evaluation.draws import excluded


def people(queries=14, gallery=18, ids=5, width=6, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(ids, width))
    features = centres[rng.integers(0, ids, queries + gallery)] + 0.6 * rng.normal(
        size=(queries + gallery, width)
    )
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features[:queries], features[queries:]


def by_loops(query, gallery, k1, k2, weight, expand, among_queries):
    """The method written out; features are few."""
    features = np.concatenate([query, gallery])
    n, q = len(features), len(query)
    squared = [[float(((a - b) ** 2).sum()) for b in features] for a in features]
    shown = range(q) if among_queries else range(n)
    order = [sorted(shown, key=lambda j, i=i: squared[i][j]) for i in range(n)]

    def mutual(i, k):
        return {j for j in order[i][: k + 1] if i in order[j][: k + 1]}

    encodings = []
    for i in range(n):
        own = mutual(i, k1)
        members = set(own)
        for j in own if expand else ():
            half = mutual(j, round(k1 / 2))
            if len(half & own) > 2 / 3 * len(half):
                members |= half
        far = max(squared[i])
        weights = {j: math.exp(-squared[i][j] / far) for j in members}
        encodings.append({j: w / sum(weights.values()) for j, w in weights.items()})
    averaged = []
    for i in range(n):
        mean = {}
        for j in order[i][:k2]:
            for k, w in encodings[j].items():
                mean[k] = mean.get(k, 0) + w / k2
        averaged.append(mean)
    result = np.zeros((q, n - q))
    for i in range(q):
        for j in range(q, n):
            common = sum(min(w, averaged[j].get(k, 0)) for k, w in averaged[i].items())
            jaccard = 1 - common / (2 - common)
            result[i, j - q] = (1 - weight) * jaccard + weight * squared[i][j] / max(squared[i])
    return result


@pytest.mark.parametrize("among_queries", [False, True])
@pytest.mark.parametrize("expand", [False, True])
@pytest.mark.parametrize(("k1", "k2", "weight"), [(6, 3, 0.3), (8, 1, 0.0), (5, 4, 1.0), (7, 2, 0.1)])
def test_the_distances_are_the_methods(k1, k2, weight, expand, among_queries):
    query, gallery = people()
    how = Reranking("k-reciprocal", k1, k2, weight, expand, among_queries)
    expected = by_loops(query, gallery, k1, k2, weight, expand, among_queries)
    np.testing.assert_allclose(how([query], [gallery]), expected, atol=1e-6)


def test_it_agrees_with_torchreids():
    query, gallery = people(seed=1)
    euclidean = [
        np.sqrt(np.maximum(((a[:, None] - b[None]) ** 2).sum(2), 0))
        for a, b in ((query, gallery), (query, query), (gallery, gallery))
    ]
    expected = torchreid.utils.re_ranking(*euclidean, k1=6, k2=3, lambda_value=0.3)
    np.testing.assert_allclose(Reranking("k-reciprocal", 6, 3, 0.3)([query], [gallery]), expected, atol=1e-3)


def test_versions_are_ranked_together_and_averaged():
    query, gallery = people()
    versions = [gallery, *(people(seed=seed)[1] for seed in (2, 3))]
    how = Reranking("MSER", 6, 3, 0.3, expand=False, among_queries=True)
    joint = by_loops(query, np.concatenate(versions), 6, 3, 0.3, False, True)
    expected = joint.reshape(len(query), 3, len(gallery)).mean(1)
    np.testing.assert_allclose(how([query], versions), expected, atol=1e-6)
    turned = how(versions, [query])
    assert turned.shape == (len(gallery), len(query))


def test_fewer_images_than_neighbours_are_enough():
    query, gallery = people(queries=3, gallery=2)
    assert np.isfinite(Reranking("k-reciprocal", 20, 6, 0.3)([query], [gallery])).all()


def test_a_reranked_figure_stands_beside_the_plain_one_and_says_so():
    rng = np.random.default_rng(0)
    table = DATASETS["sysu_mm01"].cameras
    cameras = np.tile(np.arange(len(table)), 12)
    pids = np.repeat(np.arange(12), len(table))
    test_set = TestSet(pids, cameras, np.ones(len(pids), dtype=int), table)
    features = np.eye(12)[pids] + 0.8 * rng.normal(size=(len(pids), 12))
    visible = test_set.of("modality") == 0
    spectra = np.stack([features[visible] + 0.1 * rng.normal(size=(visible.sum(), 12)) for _ in range(3)])
    chosen = {"all/1-shot/seeded": PROTOCOLS["sysu_mm01"]["all/1-shot/seeded"]}
    hows = [Reranking("k-reciprocal", 6, 3, 0.3), Reranking("MSER", 6, 3, 0.3, False, True, spectra=True)]
    about = {"name": "sysu_mm01", "split": 0}
    plain, reciprocal, mser = evaluate(features, test_set, chosen, about, rerankings=hows, spectra=spectra)
    alone = evaluate(features, test_set, chosen, about)[0]
    assert plain.as_dict() == alone.as_dict() and plain.settings["reranking"] == "none"
    assert "transductive" in reciprocal.settings["reranking"]
    assert mser.settings["reranking"] == "MSER (k1 6, k2 3, λ 0.3, among queries), transductive"
    text = format_table([plain, reciprocal, mser])
    assert "all/1-shot/seeded + k-reciprocal" in text and "all/1-shot/seeded + MSER" in text
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    versions = [unit[visible], *(s / np.linalg.norm(s, axis=1, keepdims=True) for s in spectra)]
    for number, trial in enumerate(trials(chosen["all/1-shot/seeded"], test_set)):
        place = np.cumsum(visible) - 1
        distances = hows[1]([unit[trial.query]], [version[place[trial.gallery]] for version in versions])
        hidden = excluded(chosen["all/1-shot/seeded"], test_set, *trial)
        found = rank(distances, pids[trial.query], pids[trial.gallery], hidden, True)
        assert mser.trials[number]["mAP"] == pytest.approx(100 * found.ap.mean())
    with pytest.raises(ValueError, match="each spectrum"):
        evaluate(features, test_set, chosen, about, rerankings=hows)
