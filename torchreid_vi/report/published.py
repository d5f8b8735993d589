"""Metrics that papers and public code report, each with its source and protocol."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """One published pair of metrics, in percent.

    Attributes:
        method: Its name in the config files.
        dataset: torchreid's name.
        label: Label of the result that it compares to, with the gallery draw that its code evaluates.
        r1: Rank-1.
        map: Mean average precision.
        source: Where it is published.
    """

    method: str
    dataset: str
    label: str
    r1: float
    map: float
    source: str


#: Every public code keeps the epoch that is best on the test data, which makes its metrics optimistic.
BEST_EPOCH = "each at the epoch that is best on the test data"

_AGW = "README of mangye16/Cross-Modal-Re-ID-baseline"
_CAJ = "README of mangye16/Cross-Modal-Re-ID-baseline, ICCV21_CAJ, mirror images averaged"
_DDAG = "README of mangye16/DDAG"
_MMGL = "MMGL, README and log of its authors' repository"
_MCJA = "MCJA, IEEE TCSVT 2024, with MDA and MSER"

PUBLISHED = [
    Published("agw", "sysu_mm01", "all/1-shot/seeded", 47.50, 47.65, _AGW),
    Published("agw", "sysu_mm01", "indoor/1-shot/seeded", 54.17, 62.97, _DDAG),
    Published("agw", "regdb", "visible-to-infrared", 70.05, 66.37, _AGW),
    Published("caj", "sysu_mm01", "all/1-shot/seeded", 69.88, 66.89, _CAJ),
    Published("caj", "regdb", "visible-to-infrared", 85.03, 79.14, _CAJ),
    Published("ddag", "sysu_mm01", "all/1-shot/seeded", 54.75, 53.02, _DDAG),
    Published("ddag", "sysu_mm01", "indoor/1-shot/seeded", 61.02, 67.98, _DDAG),
    Published("agw_mmgl", "sysu_mm01", "all/1-shot/seeded", 56.97, 54.61, _MMGL),
    Published("ddag_mmgl", "sysu_mm01", "all/1-shot/seeded", 56.75, 53.96, _MMGL),
    Published("mcja_journal", "sysu_mm01", "all/1-shot/official + MSER", 89.51, 87.58, _MCJA),
]


def published(method: str, dataset: str, label: str) -> Published | None:
    """Return the published metrics of a method under a protocol, if there are any.

    Args:
        method: Its name in the config files.
        dataset: torchreid's name.
        label: Label of the result; SYSU-MM01's two gallery draws do not compare.

    >>> published("agw", "sysu_mm01", "all/1-shot/seeded").r1
    47.5
    >>> published("agw", "sysu_mm01", "all/1-shot/official")
    """
    found = (p for p in PUBLISHED if (p.method, p.dataset, p.label) == (method, dataset, label))
    return next(found, None)
