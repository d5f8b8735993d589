"""RegDB: one visible and one thermal camera, 412 identities, ten splits (Nguyen et al., Sensors 2017)."""

from __future__ import annotations

import warnings
from pathlib import Path

from torchreid_vi.data.datasets.base import Record, Splits, VIDataset
from torchreid_vi.data.datasets.lists import read_index, require
from torchreid_vi.errors import InputError
from torchreid_vi.modality import Camera, Modality

_PUBLISHED = 2060  # images of each modality in the training and in the test half of every split


class RegDB(VIDataset):
    """RegDB as distributed: ``Visible/``, ``Thermal/`` and ``idx/{train,test}_{visible,thermal}_<n>.txt``.

    The published protocol trains a model of its own on each of ten splits; torchreid's ``split_id`` 0
    to 9 chooses split 1 to 10. Visible images are the query and thermal ones the gallery; the protocols
    take both directions.

    Reference:
        Nguyen et al. Person Recognition System Based on a Combination of Body Images from Visible Light
        and Thermal Cameras. Sensors 2017.
    """

    cameras = (Camera(1, 1, Modality.VISIBLE), Camera(2, 2, Modality.INFRARED))
    folders = ("regdb", "RegDB")
    protocols = "regdb"
    splits = 10

    def read(self, folder: Path, split_id: int) -> Splits:
        if not 0 <= split_id < self.splits:  # where another dataset of the run has it
            raise InputError(f"data.split_id is {split_id}: RegDB has the splits 0 to {self.splits - 1}")
        require([folder / name for name in ("Visible", "Thermal", "idx")], "RegDB")
        found = {
            (split, camid): _records(folder, f"{split}_{name}_{split_id + 1}.txt", camid)
            for split in ("train", "test")
            for camid, name in enumerate(("visible", "thermal"))
        }
        if not self.synthetic:
            _compare_with_published(folder, found)
        return Splits(found["train", 0] + found["train", 1], found["test", 0], found["test", 1])


def _records(folder: Path, name: str, camid: int) -> list[Record]:
    rows = read_index(folder / "idx" / name, folder)
    require([folder / path for path, _ in rows], f"RegDB (listed in idx/{name})")
    return [(str(folder / path), label, camid) for path, label in rows]


def _compare_with_published(folder: Path, found: dict[tuple[str, int], list[Record]]) -> None:
    for (split, camid), records in found.items():
        if len(records) != _PUBLISHED:
            warnings.warn(
                f"{folder} is not the complete RegDB: {len(records)} of {_PUBLISHED} "
                f"{('visible', 'thermal')[camid]} {split} images; "
                "figures will not compare with published ones",
                stacklevel=2,
            )
