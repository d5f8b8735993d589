"""Re-ranking of one gallery draw of SYSU-MM01."""

from __future__ import annotations

import time
from argparse import Namespace

import numpy as np

from parts.measurement import Measurement, in_a_process_of_its_own, peak_mib


def run(args: Namespace) -> list[Measurement]:
    """Measure 3,803 queries against 301 images, with features in 96 clusters."""
    return in_a_process_of_its_own(_run)


def _run() -> list[Measurement]:
    from torchreid_vi.evaluation import Reranking

    rng = np.random.default_rng(0)
    centres = rng.normal(size=(96, 2048))

    def features(number: int) -> np.ndarray:
        drawn = centres[rng.integers(0, 96, number)] + rng.normal(size=(number, 2048))
        return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)

    query, *versions = map(features, (3803, 301, 301, 301, 301))
    rows = []
    for how, gallery in (
        (Reranking("k-reciprocal", 20, 6, 0.3), versions[:1]),
        (Reranking("MSER", 40, 20, 0.3, expand=False, among_queries=True, spectra=True), versions),
    ):
        start = time.perf_counter()
        how([query], gallery)
        rows.append(Measurement(f"{how.name}, 3,803 × 301", time.perf_counter() - start, "s", most=60))
    return [*rows, Measurement("peak memory", peak_mib(), "MiB", most=4096)]
