"""Check a dataset on disk for missing and unreadable images, duplicates, and images of the other modality."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np

from torchreid_vi import console
from torchreid_vi.data.datasets.base import Item, VIDataset
from torchreid_vi.data.images import Range, read_image, read_image_file
from torchreid_vi.data.thermal import thermal_range
from torchreid_vi.errors import InputError
from torchreid_vi.modality import Modality

#: Mean differences, of 255, between an image's largest and smallest channel. A grey image, saved as JPEG, stays
#: below the first, one taken in colour is above the second.
GREY, COLOUR = 1.5, 6.0


class Finding(NamedTuple):
    """A problem with a dataset.

    Attributes:
        what: The problem in one sentence, with the remedy.
        where: Files concerned; empty if it is not about files.
    """

    what: str
    where: list[str]


class Part(NamedTuple):
    """Numbers of a part of a dataset: ``train``, ``query`` or ``gallery``."""

    name: str
    identities: int
    visible: int
    infrared: int


class _Look(NamedTuple):
    """Digest of a file's bytes, and its amount of colour; None if it does not decode."""

    digest: str
    colour: float | None


def examine(dataset_class: type[VIDataset], root: str, split_id: int = 0) -> tuple[VIDataset, list[Finding]]:
    """Read a dataset and every one of its images.

    Args:
        dataset_class: One of :data:`~torchreid_vi.data.datasets.DATASETS`.
        root: The folder that holds the dataset's folder, or that folder itself.
        split_id: Which split, from 0, where a dataset has several.

    Returns:
        The dataset and what is wrong with it.

    Raises:
        InputError: When it is not there, or so incomplete that it cannot be read.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        dataset = dataset_class(root=root, split_id=split_id, verbose=False)
    findings = [Finding(str(each.message), []) for each in said]
    try:
        dataset.image_numbers([*dataset.query, *dataset.gallery])  # as an evaluation will
    except InputError as error:
        findings.append(Finding(str(error), []))
    for side in set(Modality) - {dataset.modality(item) for item in dataset.train}:
        what = f"no training image is {side.name.lower()}: check the folders of its cameras"
        findings.append(Finding(what, []))
    findings += _one_modality(dataset)
    items = {item[0]: item for part in _parts(dataset).values() for item in part}
    dataset.scale_by(thermal_range(dataset))
    looks = dict(zip(items, _look_at_all(items, dataset.thermal), strict=True))
    findings += _unreadable(looks) + _duplicates(dataset, looks) + _contradictions(dataset, items, looks)
    return dataset, findings


def _one_modality(dataset: VIDataset) -> list[Finding]:
    """Find training identities of one modality only, each by its first image."""
    first: dict[Modality, dict[int, str]] = {side: {} for side in Modality}
    for item in dataset.train:
        first[dataset.modality(item)].setdefault(item[1], item[0])
    if not dataset.labelled or not all(first.values()):
        return []
    findings = []
    for side, other in zip(Modality, reversed(Modality), strict=True):
        alone = [path for pid, path in first[side].items() if pid not in first[other]]
        if alone:
            one = "identity has" if len(alone) == 1 else "identities have"
            what = (
                f"{len(alone):,} training {one} {side.name.lower()} images alone: add the others, "
                "or leave them out"
            )
            findings.append(Finding(what, alone))
    return findings


def overview(dataset: VIDataset) -> list[Part]:
    """Count identities and images of each part of a dataset."""
    rows = []
    for name, items in _parts(dataset).items():
        number = {side: sum(dataset.modality(item) is side for item in items) for side in Modality}
        people = len({item[1] for item in items}) if dataset.labelled else 0
        rows.append(Part(name, people, number[Modality.VISIBLE], number[Modality.INFRARED]))
    return rows


def _parts(dataset: VIDataset) -> dict[str, list[Item]]:
    return {name: getattr(dataset, name) for name in ("train", "query", "gallery")}


def _look_at_all(paths: Iterable[str], thermal: Range | None) -> list[_Look]:
    paths = list(paths)
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow decodes outside Python's lock
        return list(
            console.progress(
                pool.map(partial(_look, thermal=thermal), paths), "checking images", total=len(paths)
            )
        )


def _look(path: str, thermal: Range | None) -> _Look:
    digest = ""
    try:
        content = read_image_file(path)
        digest = hashlib.sha256(content).hexdigest()
        pixels = np.asarray(read_image(path, content, thermal=thermal), np.int16)
    except InputError:
        return _Look(digest, None)
    return _Look(digest, float((pixels.max(2) - pixels.min(2)).mean()))


def _unreadable(looks: dict[str, _Look]) -> list[Finding]:
    bad = [path for path, look in looks.items() if look.colour is None]
    return _if_any(bad, "{images} cannot be read: unpack the dataset again, or remove them")


def _duplicates(dataset: VIDataset, looks: dict[str, _Look]) -> list[Finding]:
    """Find equal files in training and testing, or under two identities."""
    held: dict[str, list[tuple[str, str, int]]] = defaultdict(list)
    for part, items in _parts(dataset).items():
        for path, pid, *_ in items:
            if looks[path].colour is not None:
                held[looks[path].digest].append((path, "train" if part == "train" else "test", pid))
    across, between = [], []
    for same in held.values():
        paths = " = ".join(sorted({path for path, *_ in same}))
        if len({side for _, side, _ in same}) > 1:
            across.append(paths)
        for side in ("train", "test"):
            if len({pid for _, of, pid in same if of == side}) > 1:
                between.append(paths)
    return _if_any(
        across, "{images} {are} both in training and in testing: figures will be too good"
    ) + _if_any(between, "{images} {are} under several identities: all but one are wrong")


def _contradictions(dataset: VIDataset, items: dict[str, Item], looks: dict[str, _Look]) -> list[Finding]:
    grey, colour = [], []
    for path, item in items.items():
        found = looks[path].colour
        if found is None:
            continue
        if dataset.modality(item) is Modality.VISIBLE and found < GREY:
            grey.append(path)
        if dataset.modality(item) is Modality.INFRARED and found > COLOUR:
            colour.append(path)
    return _if_any(
        grey, "{images} {are} filed as visible and {have} no colour: check their camera"
    ) + _if_any(colour, "{images} {are} filed as infrared and {have} colours: check their camera")


def _if_any(paths: list[str], what: str) -> list[Finding]:
    one = len(paths) == 1
    words = {"images": f"{len(paths):,} image{'' if one else 's'}", "are": "is" if one else "are"}
    return [Finding(what.format(**words, have="has" if one else "have"), paths)] if paths else []
