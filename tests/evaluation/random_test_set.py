"""A test set to evaluate on."""

import numpy as np

from torchreid_vi.evaluation import TestSet


def make_test_set(table, seed, permutations=True):
    """A random test set: 5 to 9 identities, not all under every camera, 1 to 14 images under each."""
    rng = np.random.default_rng(seed)
    rows = []
    for pid in rng.choice(500, rng.integers(5, 10), replace=False):
        for camera in range(len(table)):
            if rng.uniform() < 0.8:
                rows += [(pid, camera, number) for number in range(1, rng.integers(2, 16))]
    rows = np.array(rows)[rng.permutation(len(rows))]
    drawn = {
        (table[camera].number, pid): np.array([rng.permutation(count) + 1 for _ in range(10)])
        for pid, camera in {(pid, camera) for pid, camera, _ in rows.tolist()}
        for count in [int(((rows[:, 0] == pid) & (rows[:, 1] == camera)).sum())]
    }
    test_set = TestSet(rows[:, 0], rows[:, 1], rows[:, 2], table, drawn if permutations else None)
    features = rng.normal(size=(len(rows), 24)) + rng.normal(size=(500, 24))[rows[:, 0]]
    return features, test_set
