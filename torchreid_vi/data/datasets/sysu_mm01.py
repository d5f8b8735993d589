"""SYSU-MM01: six cameras, 491 identities (Wu et al., ICCV 2017)."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import scipy

from torchreid_vi.data.datasets.base import Item, Permutations, Record, Splits, VIDataset
from torchreid_vi.data.datasets.lists import is_number, read_ids, require, require_inside
from torchreid_vi.data.listing import images_in
from torchreid_vi.data.published import sysu_mm01_identities
from torchreid_vi.errors import InputError
from torchreid_vi.modality import Camera, Modality

_CAMERAS = tuple(
    # Cameras 2 and 3 stand at the same place.
    Camera(number, 2 if number == 3 else number, Modality(number in (3, 6)))
    for number in range(1, 7)
)


class SYSUMM01(VIDataset):
    """SYSU-MM01 as distributed: ``cam1..cam6/<identity>/<image>.jpg`` and ``exp/*_id.txt``.

    Training takes the training and validation identities (22,258 visible and 11,909 infrared images of
    395), testing queries infrared images (3,803 of 96) against all visible ones; the protocols choose
    from these. An incomplete copy is read with a warning that names what is missing.

    Reference:
        Wu et al. RGB-Infrared Cross-Modality Person Re-Identification. ICCV 2017.
    """

    cameras = _CAMERAS
    folders: tuple[str, ...] = ("sysu_mm01", "SYSU-MM01")
    protocols = "sysu_mm01"

    def read(self, folder: Path, split_id: int) -> Splits:
        lists = {name: folder / "exp" / f"{name}_id.txt" for name in ("train", "val", "test")}
        require([*lists.values(), *(folder / f"cam{c.number}" for c in self.cameras)], "SYSU-MM01")
        ids = {name: read_ids(path, folder) for name, path in lists.items()}
        train = self._records(folder, ids["train"] + ids["val"])
        test = self._records(folder, ids["test"])
        if not self.synthetic:
            _compare_with_published(folder)
        query = [record for record in test if self.cameras[record[2]].modality is Modality.INFRARED]
        gallery = [record for record in test if self.cameras[record[2]].modality is Modality.VISIBLE]
        return Splits(train, query, gallery)

    def _records(self, folder: Path, ids: list[int]) -> list[Record]:
        return [
            (path, pid, camid)
            for pid in sorted(ids)
            for camid, camera in enumerate(self.cameras)
            for path in images_in(folder / f"cam{camera.number}" / f"{pid:04d}")
        ]

    def image_numbers(self, items: list[Item]) -> np.ndarray:
        """Return the numbers in the file names, to which the official draws refer (N,)."""
        names = [Path(item[0]).stem for item in items]
        for name, item in zip(names, items, strict=True):
            if not is_number(name):
                raise InputError(
                    f"image {item[0]} is not named by its number: restore SYSU-MM01's file names"
                )
        return np.array([int(name) for name in names], dtype=np.int64)

    def gallery_permutations(self) -> Permutations | None:
        """Read the official draws of ``rand_perm_cam.mat``, from ``exp/`` or the dataset's folder."""
        for path in (self.root / "exp" / "rand_perm_cam.mat", self.root / "rand_perm_cam.mat"):
            if path.is_file():
                require_inside(self.root, [path])
                return _read_permutations(path)
        return None


def _read_permutations(path: Path) -> Permutations:
    """Read MATLAB's cell of six cameras, each a cell of identities, each a matrix of orders."""
    try:
        cameras = scipy.io.loadmat(path, variable_names=["rand_perm_cam"])["rand_perm_cam"].ravel()
        return {
            (camera + 1, pid + 1): _orders(matrix)
            for camera in range(6)
            for pid, matrix in enumerate(cameras[camera].ravel())
            if matrix.size
        }
    except Exception as error:  # whatever a damaged file makes SciPy raise
        raise InputError(f"{path} is not the official rand_perm_cam.mat: fetch it again") from error


def _orders(matrix: np.ndarray) -> np.ndarray:
    """Return orders of image numbers (trials, images), int64."""
    if matrix.ndim != 2 or not ((matrix >= 1) & (matrix < 2**31) & (matrix % 1 == 0)).all():
        raise ValueError("no numbers of images")
    return matrix.astype(np.int64)


def _compare_with_published(folder: Path) -> None:
    """Warn of folders whose number of images is not the published one."""
    differences = []
    for pid, identity in sysu_mm01_identities().items():
        for camera, expected in enumerate(identity.images, 1):
            found = len(images_in(folder / f"cam{camera}" / f"{pid:04d}"))
            if found != expected:
                differences.append(f"cam{camera}/{pid:04d} has {found} of {expected} images")
    if differences:
        more = f" and {len(differences) - 3} more folders" if len(differences) > 3 else ""
        warnings.warn(
            f"{folder} is not the complete SYSU-MM01: {', '.join(differences[:3])}{more}; "
            "figures will not compare with published ones",
            stacklevel=2,
        )
