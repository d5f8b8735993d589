"""Base class of visible-infrared datasets: a torchreid image dataset that knows its cameras."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from PIL import Image

from torchreid_vi import host
from torchreid_vi.data.datasets.lists import require_inside
from torchreid_vi.data.images import Range, dataset_image
from torchreid_vi.errors import InputError
from torchreid_vi.folders import expanded
from torchreid_vi.modality import Camera, Modality

Item = tuple[str, int, int, int]  # path, identity, index into the dataset's cameras, dataset number
Record = tuple[str, int, int]  # an item without its dataset number
R = TypeVar("R", Record, Item)
Permutations = dict[tuple[int, int], np.ndarray]  # by camera number and identity, (trials, images)


class Splits(NamedTuple):
    """Images found on disk; training identities are numbered as the dataset numbers them."""

    train: list[Record]
    query: list[Record]
    gallery: list[Record]


class VIDataset(host.data.ImageDataset):  # type: ignore[misc]
    """A torchreid image dataset whose items have a modality, by the camera that took them.

    A subclass names its cameras and implements :meth:`read`. ``pids`` are relabelled 0..N−1 for
    training and kept as they are for testing.

    Args:
        root: The folder that holds the dataset's folder, or that folder itself.
        split_id: Which split to read, from 0, where a dataset has several.
        **kwargs: Arguments of torchreid's datasets, such as ``transform``, ``mode`` and ``combineall``.

    Raises:
        InputError: When the dataset is not there, not in its published layout, or leads out of its folder.
    """

    cameras: tuple[Camera, ...] = ()
    folders: tuple[str, ...] = ()  # names that the dataset's folder goes by
    protocols: str = "cross_modality"  # the family of protocols that evaluates it
    query: list[Item]
    gallery: list[Item]
    labelled: bool = True  # whether it knows identities; one that does not has training images alone
    splits: int = 1  # of people into training and test
    follows_links: bool = False  # out of its folder: to places that whoever made the folder chose
    thermal: Range | None = None  # what is black and white in its images of more than 8 bits

    def __init__(self, root: str = "", split_id: int = 0, **kwargs: Any) -> None:
        self.image: Callable[[str], Image.Image] = dataset_image  # of a path
        self.root = self.find(root)
        self.split_id = split_id
        splits = self.read(self.root, split_id)
        for name, records in zip(splits._fields, splits, strict=True):
            if not records and (self.labelled or name == "train"):
                raise InputError(f"{self.root} has no {name} images: check that it was unpacked completely")
        if not self.follows_links:
            require_inside(self.root, (path for records in splits for path, *_ in records))
        if self.labelled:
            super().__init__(relabelled(splits.train), splits.query, splits.gallery, **kwargs)
        else:  # torchreid looks at the first item of each part
            some = splits.train[:1]
            super().__init__(splits.train, some, some, **kwargs | {"verbose": False, "combineall": False})
            self.query, self.gallery = [], []
            self.data = self.train if self.mode == "train" else []

    def scale_by(self, thermal: Range | None) -> None:
        """Read images of more than 8 bits with this range from now on."""
        self.thermal, self.image = thermal, partial(dataset_image, thermal=thermal)

    def find(self, root: str) -> Path:
        """Return the dataset's folder under ``root``."""
        above = expanded(root)
        candidates = [above / name for name in self.folders]
        for path in candidates:
            if path.is_dir():
                return path
        if above.is_dir() and above.resolve().name in self.folders:
            return above
        raise InputError(
            f"{' or '.join(map(str, candidates))} not found: put {type(self).__name__} there "
            "or name the folder above it with --root"
        )

    def read(self, folder: Path, split_id: int) -> Splits:
        """List the images under ``folder``."""
        raise NotImplementedError

    def gallery_permutations(self) -> Permutations | None:
        """Return the dataset's published gallery draws, if it has some and they are on disk."""
        return None

    def image_numbers(self, items: list[Item]) -> np.ndarray:
        """Number each item among those of its identity and camera, from 1, by file name (N,)."""
        seen: Counter[tuple[int, int]] = Counter()
        numbers = np.zeros(len(items), dtype=np.int64)
        for i in sorted(range(len(items)), key=lambda i: items[i][0]):
            seen[items[i][1:3]] += 1
            numbers[i] = seen[items[i][1:3]]
        return numbers

    @property
    def synthetic(self) -> bool:
        """Whether this dataset was rendered by :mod:`torchreid_vi.data.synthetic`."""
        return (self.root / "synthetic.json").is_file()

    def modality(self, item: Item) -> Modality:
        """Return the modality of one of the dataset's items."""
        return self.cameras[item[2]].modality

    def __getitem__(self, index: int) -> dict[str, Any]:
        path, pid, camid, dsetid = self.data[index]
        modality = self.modality(self.data[index])
        image = self.image(path)
        if self.transform is not None:
            image = self._transform_image(self.transform, self.k_tfm, image)
        return {
            "img": image,
            "pid": pid,
            "camid": camid,
            "impath": path,
            "dsetid": dsetid,
            "modality": int(modality),
        }

    def __add__(self, other: Any) -> VIDataset:
        """Join both training sets; torchreid's own datasets count as visible."""
        own = len(self.cameras)
        cameras = getattr(other, "cameras", None)
        if cameras is None:
            seen = range(max(item[2] for item in other.train) + 1)
            cameras = tuple(Camera(number, number, Modality.VISIBLE) for number in seen)
        total = copy.copy(self)
        total.cameras = self.cameras + cameras
        total.train = self.train + [
            (path, pid + self.num_train_pids, camid + own, dsetid + self.num_datasets)
            for path, pid, camid, dsetid in other.train
        ]
        total.set_train(total.train)
        return total

    def set_train(self, items: list[Item]) -> None:
        """Replace the training items and recount identities, cameras and datasets."""
        self.train = items
        self.num_train_pids = self.get_num_pids(items)
        self.num_train_cams = self.get_num_cams(items)
        self.num_datasets = self.get_num_datasets(items)
        if self.mode == "train":
            self.data = items

    def with_items(self, items: list[Item]) -> VIDataset:
        """Return a view of the dataset that holds ``items`` alone."""
        view = copy.copy(self)
        view.data = items
        return view

    def combine_all(self) -> None:
        """Add query and gallery to the training set; a query without a gallery match is kept, too."""
        test = [(path, pid, camid) for path, pid, camid, _ in self.query + self.gallery]
        extra = [(*record, 0) for record in relabelled(test, self.num_train_pids)]
        self.train = self.train + extra
        self.num_train_pids = self.get_num_pids(self.train)


def relabelled(records: Sequence[R], start: int = 0) -> list[R]:
    """Return records or items with their identities renumbered from ``start``, in ascending order."""
    label = {pid: start + i for i, pid in enumerate(sorted({record[1] for record in records}))}
    return [(path, label[pid], *rest) for path, pid, *rest in records]  # type: ignore[misc]
