"""Unlabelled footage: one folder of visible and one of infrared images, to pre-train on."""

from __future__ import annotations

from pathlib import Path

from torchreid_vi.data.datasets.base import Record, Splits, VIDataset
from torchreid_vi.data.listing import images_under
from torchreid_vi.errors import InputError
from torchreid_vi.folders import expanded
from torchreid_vi.modality import Camera, Modality


class VIFolder(VIDataset):
    """``visible/`` and ``infrared/``, each with images of people at any depth; no identities, no test set.

    Links are followed wherever they lead, as they are of whoever put the folder together.
    ``root`` is the folder that holds the two, or one above it in which it is called ``vi_folder``.
    """

    cameras: tuple[Camera, ...] = (Camera(1, 1, Modality.VISIBLE), Camera(2, 2, Modality.INFRARED))
    folders: tuple[str, ...] = ("vi_folder",)
    labelled = False
    follows_links = True

    def find(self, root: str) -> Path:
        above = expanded(root)
        for folder in (above, above / self.folders[0]):
            if any(half.is_dir() for half in _halves(folder)):
                return folder
        raise InputError(
            f"{above} holds neither visible/ nor infrared/: name the folder that holds both with --root"
        )

    def read(self, folder: Path, split_id: int) -> Splits:
        train: list[Record] = []
        for camid, half in enumerate(_halves(folder)):
            if not half.is_dir():
                raise InputError(f"{half} not found: put the {half.name} images there")
            train += [(str(path), 0, camid) for path in images_under(half)]
        return Splits(train, [], [])


def _halves(folder: Path) -> list[Path]:
    return [folder / modality.name.lower() for modality in Modality]
