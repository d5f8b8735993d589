"""Modalities and cameras: the vocabulary that data, models, losses and evaluation share."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Modality(IntEnum):
    """What light a camera sees; its value is what batches carry."""

    VISIBLE = 0
    INFRARED = 1


class Camera(NamedTuple):
    """One camera of a dataset; an item's ``camid`` is an index into its dataset's tuple of cameras.

    Attributes:
        number: the number that the dataset prints (1 for ``cam1``).
        location: cameras that stand at the same place share it.
        modality: what the camera sees.
    """

    number: int
    location: int
    modality: Modality
