"""Modalities and cameras: the vocabulary that data, models, losses and evaluation share."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

from torchreid_vi.errors import unknown_name


class Modality(IntEnum):
    """The light that a camera sees; batches carry its value."""

    VISIBLE = 0
    INFRARED = 1


def as_modality(name: str | Modality, what: str = "modality") -> Modality:
    """Return the modality of a name, ``visible`` or ``infrared``.

    Args:
        name: The name; a modality stays as it is.
        what: What a message calls it.

    Raises:
        InputError: For another name.
    """
    if isinstance(name, Modality):
        return name
    known = {modality.name.lower(): modality for modality in Modality}
    if name not in known:
        raise unknown_name(what, name, known)
    return known[name]


class Camera(NamedTuple):
    """One camera of a dataset; an item's ``camid`` is an index into its dataset's tuple of cameras.

    Attributes:
        number: The number that the dataset prints (1 for ``cam1``).
        location: Cameras that stand at the same place share it.
        modality: What the camera sees.
    """

    number: int
    location: int
    modality: Modality


Rows = tuple[Tensor, Tensor]  # the rows of a batch's visible and infrared images


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device, through pinned memory where that lets nothing wait."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def rows_of(modality: Tensor, device: torch.device) -> Rows:
    """Find the rows of the visible and of the infrared images of a batch.

    They are found where ``modality`` is; on a GPU that waits, so training keeps it on the CPU.

    Args:
        modality: 0 visible, 1 infrared (B,).
        device: Device of the rows.
    """
    visible, infrared = (moved((modality == kind).nonzero()[:, 0], device) for kind in Modality)
    return visible, infrared
