"""Plan the files of a synthetic dataset in the exact layouts of SYSU-MM01, RegDB and LLCM.

A plan names every picture (who, by which camera, which take) and holds the bytes of every list, so
that rendering is a loop over pictures and a reader can be tried on a plan without rendering anything.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import scipy

from torchreid_vi.data.published import Identity, sysu_mm01_identities
from torchreid_vi.errors import InputError
from torchreid_vi.modality import Modality

_TRIALS = 10  # gallery draws of SYSU-MM01, and splits of RegDB
_SYSU_INFRARED = (3, 6)


class Picture(NamedTuple):
    """One file to render: where, whom, by which camera (an index into the plan's) and which take."""

    path: str
    person: int
    camera: int
    take: int


@dataclass
class Layout:
    """The plan of one dataset: its folder, the modality of each camera, pictures and lists."""

    folder: str
    cameras: list[Modality]
    pictures: list[Picture] = field(default_factory=list)
    lists: dict[str, bytes] = field(default_factory=dict)


def sysu_layout(ids: int, images: int, seed: int) -> Layout:
    """SYSU-MM01: six cameras, ``images`` of each identity under each; a third of the identities test."""
    _require(ids, 6, "identities")
    order = (np.random.default_rng([seed, 3]).permutation(ids) + 1).tolist()
    test, val = ids // 3, ids // 6
    split = dict.fromkeys(order[:test], "test") | dict.fromkeys(order[test : test + val], "val")
    everyone = {pid: Identity(split.get(pid, "train"), [images] * 6) for pid in range(1, ids + 1)}
    return _sysu_plan(everyone, seed)


def published_sysu_layout(seed: int) -> Layout:
    """SYSU-MM01 as published: its 491 identities, their splits and image counts under each camera."""
    return _sysu_plan(sysu_mm01_identities(), seed)


def _sysu_plan(everyone: dict[int, Identity], seed: int) -> Layout:
    modality = [Modality(camera in _SYSU_INFRARED) for camera in range(1, 7)]
    plan = Layout("sysu_mm01", modality)
    for pid, (_, counts) in everyone.items():
        plan.pictures += [
            Picture(f"cam{camera + 1}/{pid:04d}/{take + 1:04d}.jpg", pid, camera, take)
            for camera, count in enumerate(counts)
            for take in range(count)
        ]
    lists = {
        name: [pid for pid, who in everyone.items() if who.split == name] for name in ("train", "val", "test")
    }
    for split, pids in (lists | {"available": list(everyone)}).items():
        plan.lists[f"exp/{split}_id.txt"] = (",".join(map(str, sorted(pids))) + "\n").encode()
        plan.lists[f"exp/{split}_id.mat"] = _mat({"id": np.array([sorted(pids)], dtype=np.uint16)})
    plan.lists["exp/rand_perm_cam.mat"] = _mat({"rand_perm_cam": _permutations(everyone, seed)})
    return plan


def _permutations(everyone: dict[int, Identity], seed: int) -> np.ndarray:
    """Cells [camera][identity] of ten permutations (10, images), as the official evaluation reads them."""
    rng = np.random.default_rng([seed, 4])
    cells = np.empty((6, 1), dtype=object)
    for camera in range(6):
        cells[camera, 0] = np.empty((max(everyone), 1), dtype=object)
        for pid in range(1, max(everyone) + 1):
            count = everyone[pid].images[camera] if pid in everyone else 0
            draws = [rng.permutation(count) + 1 for _ in range(_TRIALS)]
            cells[camera, 0][pid - 1, 0] = np.array(draws, dtype=np.uint8 if count < 256 else np.uint16)
    return cells


def _mat(variables: dict[str, np.ndarray]) -> bytes:
    """A MATLAB file whose header does not carry the date, so that equal content means equal bytes."""
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, variables)
    return b"MATLAB 5.0 MAT-file".ljust(116) + buffer.getvalue()[116:]


def regdb_layout(ids: int, images: int, seed: int) -> Layout:
    """RegDB: one visible and one thermal camera, ten random halvings into train and test."""
    _require(ids, 2, "identities")
    plan = Layout("regdb", [Modality.VISIBLE, Modality.INFRARED])
    names = {0: ("Visible", "v"), 1: ("Thermal", "t")}
    paths: dict[tuple[int, int], list[str]] = {}
    for pid in range(1, ids + 1):
        for camera, (folder, letter) in names.items():
            files = [f"{folder}/{pid}/person_{letter}_{pid:05d}_{take + 1}.bmp" for take in range(images)]
            paths[pid, camera] = files
            plan.pictures += [Picture(file, pid, camera, take) for take, file in enumerate(files)]
    rng = np.random.default_rng([seed, 3])
    for trial in range(1, _TRIALS + 1):
        order = rng.permutation(ids) + 1
        for split, pids in (("train", order[: ids // 2]), ("test", order[ids // 2 :])):
            for camera, (folder, _) in names.items():
                lines = [
                    f"{path} {label}\n"
                    for label, pid in enumerate(sorted(pids.tolist()))
                    for path in paths[pid, camera]
                ]
                plan.lists[f"idx/{split}_{folder.lower()}_{trial}.txt"] = "".join(lines).encode()
    return plan


def llcm_layout(ids: int, images: int, seed: int) -> Layout:
    """LLCM: nine visible and eight near-infrared cameras that share numbers, each seeing some people."""
    _require(ids, 3, "identities")
    numbers = [(n, Modality.VISIBLE) for n in range(1, 10)]
    numbers += [(n, Modality.INFRARED) for n in range(1, 10) if n != 3]
    plan = Layout("llcm", [modality for _, modality in numbers])
    rng = np.random.default_rng([seed, 3])
    test = set((rng.permutation(ids) + 1)[: ids // 3].tolist())
    label = {pid: i for i, pid in enumerate(pid for pid in range(1, ids + 1) if pid not in test)}
    train: dict[str, list[str]] = {"vis": [], "nir": []}
    for pid in range(1, ids + 1):
        seen = set(rng.choice([1, 2, 4, 5, 6, 7, 8, 9], 3, replace=False).tolist()) | {3}
        for camera, (number, modality) in enumerate(numbers):
            kind = "nir" if modality is Modality.INFRARED else "vis"
            for take in range(images if number in seen else 0):
                name = f"{pid:04d}_c{number:02d}_f{take + 1:04d}_{kind}.jpg"
                path = (
                    f"test_{kind}/cam{number}/{pid:04d}/{name}" if pid in test else f"{kind}/{pid:04d}/{name}"
                )
                plan.pictures.append(Picture(path, pid, camera, take))
                if pid not in test:
                    train[kind].append(f"{path} {label[pid]}\n")
    for kind, lines in train.items():
        plan.lists[f"idx/train_{kind}.txt"] = "".join(lines).encode()
    plan.lists["idx/test_id.txt"] = (",".join(map(str, sorted(test))) + "\n").encode()
    return plan


def _require(value: int, least: int, what: str) -> None:
    if value < least:
        raise InputError(f"a dataset of {value} {what} cannot be split: ask for at least {least}")


LAYOUTS: dict[str, Callable[[int, int, int], Layout]] = {
    "sysu": sysu_layout,
    "regdb": regdb_layout,
    "llcm": llcm_layout,
}
