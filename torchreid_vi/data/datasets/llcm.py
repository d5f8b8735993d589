"""LLCM: nine cameras in low light, 1,064 identities (Zhang and Wang, CVPR 2023)."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

from torchreid_vi.data.datasets.base import Record, Splits, VIDataset
from torchreid_vi.data.datasets.lists import read_ids, read_index, require
from torchreid_vi.data.listing import images_in
from torchreid_vi.modality import Camera, Modality

_PUBLISHED = (713, 351, 46767)  # training identities, test identities, images
_NUMBERS = range(1, 10)


class LLCM(VIDataset):
    """LLCM as distributed: ``idx/train_{vis,nir}.txt``, ``idx/test_id.txt`` and ``test_{vis,nir}/cam*/``.

    Visible and near-infrared cameras share numbers, so an item's ``camid`` is the visible camera's
    number less one, or the infrared camera's number plus eight. Near-infrared images are the query and
    visible ones the gallery; the protocols take both directions.

    Reference:
        Zhang and Wang. Diverse Embedding Expansion Network and Low-Light Cross-Modality Benchmark for
        Visible-Infrared Person Re-identification. CVPR 2023.
    """

    cameras = tuple(Camera(n, n, modality) for modality in Modality for n in _NUMBERS)
    folders = ("llcm", "LLCM")
    protocols = "llcm"

    def read(self, folder: Path, split_id: int) -> Splits:
        lists = [folder / "idx" / name for name in ("train_vis.txt", "train_nir.txt", "test_id.txt")]
        require([*lists, folder / "test_vis", folder / "test_nir"], "LLCM")
        train = _train(folder, lists[0], Modality.VISIBLE) + _train(folder, lists[1], Modality.INFRARED)
        ids = read_ids(lists[2], folder)
        query = _test(folder / "test_nir", ids, Modality.INFRARED)
        gallery = _test(folder / "test_vis", ids, Modality.VISIBLE)
        if not self.synthetic:
            _compare_with_published(folder, Splits(train, query, gallery))
        return Splits(train, query, gallery)


def _camid(number: int, modality: Modality) -> int:
    return number - 1 + len(_NUMBERS) * modality


def _train(folder: Path, path: Path, modality: Modality) -> list[Record]:
    """List the training images; the camera number is in the file name (``_c04_``), 1 where it is not."""
    rows = read_index(path, folder)
    require([folder / name for name, _ in rows], f"LLCM (listed in {path.name})")
    records = []
    for name, label in rows:
        number = re.search(r"_c0?([1-9])_", name)
        records.append((str(folder / name), label, _camid(int(number[1]) if number else 1, modality)))
    return records


def _test(folder: Path, ids: list[int], modality: Modality) -> list[Record]:
    return [
        (path, pid, _camid(number, modality))
        for pid in sorted(ids)
        for number in _NUMBERS
        for path in images_in(folder / f"cam{number}" / f"{pid:04d}")
    ]


def _compare_with_published(folder: Path, splits: Splits) -> None:
    train_ids = {pid for _, pid, _ in splits.train}
    test_ids = {pid for _, pid, _ in splits.query + splits.gallery}
    found = (len(train_ids), len(test_ids), sum(map(len, splits)))
    names = ("training identities", "test identities", "images")
    for have, expected, name in zip(found, _PUBLISHED, names, strict=True):
        if have != expected:
            warnings.warn(
                f"{folder} is not the complete LLCM: {have:,} of {expected:,} {name}; "
                "figures will not compare with published ones",
                stacklevel=2,
            )
