"""Published figures, each with its source; nothing without one stands here."""

from __future__ import annotations

from typing import NamedTuple


class Published(NamedTuple):
    """One published pair of figures, in percent.

    Attributes:
        method: as the config files call it.
        dataset: torchreid's name.
        label: of the result it is comparable to, up to the draw of the gallery.
        r1, map: Rank-1 and mean average precision.
        source: where it stands.
    """

    method: str
    dataset: str
    label: str
    r1: float
    map: float
    source: str


_AGW = "README of mangye16/Cross-Modal-Re-ID-baseline"
_CAJ = "README of mangye16/Cross-Modal-Re-ID-baseline, ICCV21_CAJ"
_DDAG = "README of mangye16/DDAG"
_MMGL = "MMGL, README and log of its authors' repository"
_MCJA = "MCJA, IEEE TCSVT 2024, with MDA and MSER"

PUBLISHED = [
    Published("agw", "sysu_mm01", "all/1-shot", 47.50, 47.65, _AGW),
    Published("agw", "sysu_mm01", "indoor/1-shot", 54.17, 62.97, _AGW),
    Published("agw", "regdb", "visible-to-infrared", 70.05, 66.37, _AGW),
    Published("caj", "sysu_mm01", "all/1-shot", 69.88, 66.89, _CAJ),
    Published("caj", "regdb", "visible-to-infrared", 85.03, 79.14, _CAJ),
    Published("ddag", "sysu_mm01", "all/1-shot", 54.75, 53.02, _DDAG),
    Published("ddag", "sysu_mm01", "indoor/1-shot", 61.02, 67.98, _DDAG),
    Published("agw_mmgl", "sysu_mm01", "all/1-shot", 56.97, 54.61, _MMGL),
    Published("ddag_mmgl", "sysu_mm01", "all/1-shot", 56.75, 53.96, _MMGL),
    Published("mcja_journal", "sysu_mm01", "all/1-shot + MSER", 89.51, 87.58, _MCJA),
]


def published(method: str, dataset: str, label: str) -> Published | None:
    """The published figures to set beside a result, if there are any.

    Args:
        method: as the config files call it.
        dataset: torchreid's name.
        label: of the result; SYSU-MM01's two draws of the gallery are both compared, as the literature does
            not always say which it used.

    >>> published("agw", "sysu_mm01", "all/1-shot/official").r1
    47.5
    """
    plain = label.replace("/official", "").replace("/seeded", "")
    found = (p for p in PUBLISHED if (p.method, p.dataset, p.label) == (method, dataset, plain))
    return next(found, None)
