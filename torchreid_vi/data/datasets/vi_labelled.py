"""Labelled images of one's own: a folder for each identity, in two halves."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from torchreid_vi.data.datasets.base import Record, Splits
from torchreid_vi.data.datasets.lists import read_text
from torchreid_vi.data.datasets.vi_folder import VIFolder
from torchreid_vi.data.listing import images_under
from torchreid_vi.errors import InputError
from torchreid_vi.folders import expanded
from torchreid_vi.modality import Camera, Modality

TEST_LIST = "test.txt"  # in the dataset's folder, read where no other list is named
_CAMERA = re.compile(r"cam(era)?[ _-]?\d{1,6}", re.IGNORECASE)  # what a folder of a camera is called


class VILabelled(VIFolder):
    """``visible/<identity>/…`` and ``infrared/<identity>/…``, or with cameras ``visible/cam1/<identity>/…``.

    Identities have any names, the same in both halves. Every camera of a half, or the half itself, is a camera of
    its own: a query is compared with all test images of the other modality. ``root`` is the folder that holds the
    two halves, or one above it in which it is called ``vi_labelled``.

    Args:
        root: As for :class:`~torchreid_vi.data.VIDataset`.
        split_id: Which random split, from 0 to 9; 0 where a list says who is tested.
        test_share: Share of the identities with images of both modalities that are sampled for testing.
        test_list: File with the names of the identities to test, one a line, under the dataset's folder or
            anywhere; ``test.txt`` in that folder when empty and there.
        **kwargs: Arguments of :class:`~torchreid_vi.data.VIDataset`.

    Raises:
        InputError: For a folder or a list that cannot be used.
    """

    folders = ("vi_labelled",)
    labelled = True
    splits = 10

    def __init__(
        self,
        root: str = "",
        split_id: int = 0,
        test_share: float = 0.5,
        test_list: str = "",
        **kwargs: Any,
    ) -> None:
        self.test_share, self.test_list = test_share, test_list
        super().__init__(root, split_id, **kwargs)

    def read(self, folder: Path, split_id: int) -> Splits:
        found = {side: _images(folder / side.name.lower()) for side in Modality}
        self.cameras, records, names = _numbered(found)
        sides: dict[str, set[Modality]] = defaultdict(set)
        for _, pid, camid in records:
            sides[names[pid]].add(self.cameras[camid].modality)
        both = [name for name in names if len(sides[name]) == 2]
        if not both:
            visible, infrared = (next(name for name in names if side in sides[name]) for side in Modality)
            raise InputError(
                f"{folder}: no identity has images of both modalities, {visible!r} is visible and {infrared!r} "
                "infrared: give one person's folders in visible/ and infrared/ the same name"
            )
        file = self._list(folder)
        tested = _sampled(both, self.test_share, split_id) if file is None else _listed(file, names, both)
        if file is not None and split_id:
            raise InputError(f"data.split_id is {split_id}: {file} makes one split, 0")
        if not set(both) - tested:
            raise InputError(f"{file} tests every identity of both modalities: leave some to train on")
        test = [record for record in records if names[record[1]] in tested]
        return Splits(
            train=[record for record in records if names[record[1]] not in tested],
            query=[record for record in test if self.cameras[record[2]].modality is Modality.INFRARED],
            gallery=[record for record in test if self.cameras[record[2]].modality is Modality.VISIBLE],
        )

    def _list(self, folder: Path) -> Path | None:
        if self.test_list:
            return folder / expanded(self.test_list)
        return folder / TEST_LIST if (folder / TEST_LIST).is_file() else None


def _images(half: Path) -> list[tuple[str, str, str]]:
    """Return the images of a half, each with its camera, empty where there are none, and its identity."""
    if not half.is_dir():
        raise InputError(f"{half} not found: put a folder with {half.name} images of each identity there")
    paths = images_under(half)
    parts = [path.relative_to(half).parts for path in paths]
    cameras = {first for first, *below in parts if below and _CAMERA.fullmatch(first)}
    others = {first for first, *below in parts if below} - cameras
    if cameras and others:
        raise InputError(
            f"{half} holds folders of cameras, such as {min(cameras)!r}, and others, such as {min(others)!r}: put "
            "all identities into folders of cameras, or none"
        )
    above = 1 if cameras else 0
    found = []
    for path, names in zip(paths, parts, strict=True):
        if len(names) < above + 2:
            raise InputError(f"{path} is in no folder of an identity: put it into one, {path.parent}/NAME/")
        found.append((str(path), names[0] if cameras else "", names[above]))
    return found


def _numbered(
    found: dict[Modality, list[tuple[str, str, str]]],
) -> tuple[tuple[Camera, ...], list[Record], list[str]]:
    """Return the cameras, the records, and the names of the identities, which records have by their place."""
    cameras = sorted({(side, camera) for side, images in found.items() for _, camera, _ in images})
    names = sorted({name for images in found.values() for _, _, name in images})
    camid = {camera: number for number, camera in enumerate(cameras)}
    pid = {name: number for number, name in enumerate(names)}
    table = tuple(Camera(number, number, side) for number, (side, _) in enumerate(cameras, 1))
    records = [
        (path, pid[name], camid[side, camera])
        for side, images in found.items()
        for path, camera, name in images
    ]
    return table, records, names


def _sampled(names: list[str], share: float, split_id: int) -> set[str]:
    """Return a random share of the names, another one for each split."""
    if not 0 < share < 1:
        raise InputError(f"vi_labelled.test_share is {share}: it must be above 0 and below 1")
    number = round(share * len(names))
    if not 0 < number < len(names):
        raise InputError(
            f"vi_labelled.test_share {share} tests {number} of {len(names)} identities that have images of both "
            "modalities: change it, or add identities"
        )
    return set(random.Random(split_id).sample(names, number))


def _listed(file: Path, names: list[str], both: list[str]) -> set[str]:
    """Return the names in a list of identities to test."""
    tested = [line.strip() for line in read_text(file).splitlines() if line.strip()]
    if not tested:
        raise InputError(f"{file} names no identity: write one a line")
    for name in tested:
        if name not in names:
            nearest = get_close_matches(name, names, n=1)
            hint = f"did you mean {nearest[0]!r}?" if nearest else f"there are {names[0]!r} and others"
            raise InputError(f"{file} names {name[:80]!r}, which has no images: {hint}")
        if name not in both:
            raise InputError(
                f"{file} names {name!r}, which has images of one modality alone: add the others, or leave it out"
            )
        if tested.count(name) > 1:
            raise InputError(f"{file} names {name!r} more than once: name it once")
    return set(tested)
