"""A share of the training images held out for validation."""

from __future__ import annotations

import logging
import random

from torchreid_vi.data.datasets.base import VIDataset, relabelled
from torchreid_vi.errors import InputError
from torchreid_vi.modality import Modality

log = logging.getLogger(__name__)


def hold_out(dataset: VIDataset, share: float, identities: bool) -> dict[str, VIDataset]:
    """Take a share of the training identities, or images, out of a dataset; return them as query and gallery.

    Args:
        dataset: Changed in place.
        share: Above 0 and below 1.
        identities: Whether identities are held out, or images of each modality.

    Raises:
        InputError: For a share that leaves nothing on either side.
    """
    chosen = _some_identities(dataset, share) if identities else _some_images(dataset, share)
    items = [item for item, held in zip(dataset.train, chosen, strict=True) if held]
    kept = [item for item, held in zip(dataset.train, chosen, strict=True) if not held]
    dataset.set_train(relabelled(kept))
    parts: dict[str, VIDataset] = {}
    for name, modality in (("query", Modality.INFRARED), ("gallery", Modality.VISIBLE)):
        part = [item for item in items if dataset.modality(item) is modality]
        if not part:
            raise InputError("data.validation needs both modalities: what is held out lacks one")
        parts[name] = dataset.with_items(part)
    number = f"{len({item[1] for item in items})} training identities, " if identities else ""
    log.info(f"Holding out {number}{len(items)} images for validation")
    return parts


def _some_identities(dataset: VIDataset, share: float) -> list[bool]:
    """Sample a share of the identities; return which training images are theirs."""
    pids = sorted({item[1] for item in dataset.train})
    number = round(share * len(pids))
    if not 0 < number < len(pids) - 1:
        raise InputError(
            f"data.validation {share} holds out {number} of {len(pids)} identities: change the share"
        )
    held = set(random.Random(0).sample(pids, number))
    return [item[1] in held for item in dataset.train]


def _some_images(dataset: VIDataset, share: float) -> list[bool]:
    """Sample a share of the training images of each modality."""
    held: set[int] = set()
    for modality in Modality:
        images = [i for i, item in enumerate(dataset.train) if dataset.modality(item) is modality]
        number = round(share * len(images))
        if not 0 < number < len(images):
            raise InputError(
                f"data.validation {share} holds out {number} of {len(images)} {modality.name.lower()} images: "
                "change the share, and data.modalities if it leaves that modality out"
            )
        held |= set(random.Random(0).sample(images, number))
    return [i in held for i in range(len(dataset.train))]
