"""SYSU-MM01's published structure: how many images of whom each camera took."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

_COUNTS = Path(__file__).with_name("sysu_mm01_counts.csv")


class Identity(NamedTuple):
    """One identity's split (``train``, ``val`` or ``test``) and its images under cameras 1 to 6."""

    split: str
    images: list[int]


def sysu_mm01_identities() -> dict[int, Identity]:
    """Return the 491 identities of SYSU-MM01 that have images.

    >>> len(sysu_mm01_identities()), sysu_mm01_identities()[1]
    (491, Identity(split='train', images=[29, 8, 20, 20, 20, 20]))
    """
    with _COUNTS.open(newline="") as file:
        return {
            int(row["id"]): Identity(row["split"], [int(row[f"cam{camera}"]) for camera in range(1, 7)])
            for row in csv.DictReader(file)
        }
