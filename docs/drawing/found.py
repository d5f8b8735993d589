"""Picture of what a trained model finds, for the README."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from torchreid_vi.report.finished import FinishedRun
from torchreid_vi.report.pictures import galleries

PERCENTILES = (90, 75, 50, 25)  # of the queries' average precision


def ranked(out: Path, run: FinishedRun) -> None:
    """Show infrared queries with the visible images that a run ranked first, from good answers to poor ones."""
    ranking = run.ranked.ranking
    order = np.argsort(ranking.ap, kind="stable")
    rows = [ranking.query[order[len(order) * percentile // 100]] for percentile in PERCENTILES]
    galleries(run, rows, top=9).save(out / "found.jpg", quality=85)
