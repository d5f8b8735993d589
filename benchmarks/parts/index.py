"""Gallery indexes: memory of a million vectors, recall and speed of each kind."""

from __future__ import annotations

import tempfile
import time
from argparse import Namespace
from pathlib import Path

import numpy as np

from parts.measurement import Measurement


def run(args: Namespace) -> list[Measurement]:
    """Measure indexes of 512-dimensional features: ten images of each person, around a centre."""
    from torchreid_vi.retrieval.index import KINDS, VECTORS, EmbeddingIndex

    number = 20_000 if args.quick else 100_000
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((number // 10, 512), np.float32)

    def features(people: np.ndarray) -> np.ndarray:
        drawn = centres[people] + rng.standard_normal((len(people), 512), np.float32)
        return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)

    gallery, queries = features(np.arange(number) // 10), features(rng.integers(0, number // 10, 500))
    exact = np.argsort(-(queries @ gallery.T), axis=1)[:, :10]
    items = [{"row": row} for row in range(number)]
    rows = []
    for kind in KINDS:
        start = time.perf_counter()
        index = EmbeddingIndex.build(gallery, items, kind)
        building = time.perf_counter() - start
        start = time.perf_counter()
        found = [[item["row"] for _, item in each] for each in index.search(queries, 10)]
        searching = time.perf_counter() - start
        held = np.mean([len(set(a) & set(b)) / 10 for a, b in zip(exact.tolist(), found, strict=True)])
        with tempfile.TemporaryDirectory() as folder:
            index.save(Path(folder) / "index")
            size = (Path(folder) / "index" / VECTORS).stat().st_size
        rows += [
            Measurement(f"{kind}, vectors of a million images", size / number * 1e6 / 2**20, "MiB"),
            Measurement(f"{kind}, recall@10 of exact search", 100 * held, "%"),
            Measurement(f"{kind}, searching {number:,}", len(queries) / searching, "queries/s"),
            Measurement(f"{kind}, building, {number:,}", building, "s"),
        ]
    return rows
