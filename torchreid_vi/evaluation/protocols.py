"""Who is compared with whom: the protocols of SYSU-MM01, RegDB and LLCM as data and index arrays.

A protocol says which modality queries which, how the gallery is drawn, what a query is not shown and
what the CMC counts; :func:`~torchreid_vi.evaluation.trials` turns it into index arrays over a test set.
Drawing is a pure function of the test set and the trial's number.

Sources: the official SYSU-MM01 evaluation and its permutations (Wu et al., ICCV 2017); the seeded draw
and RegDB's two directions of AGW's evaluation (arXiv 2001.04193); LLCM's of its authors (CVPR 2023).
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.modality import Camera, Modality

TRIALS = 10


@dataclass(frozen=True)
class TestSet:
    """What a dataset's test images are, by index; every array has N entries.

    Attributes:
        pids: identities.
        cameras: index into ``table`` of the camera that took each image.
        numbers: number of each image among those of its identity and camera, from 1.
        table: the dataset's cameras.
        permutations: published gallery draws by (camera number, identity), when the dataset has them.
    """

    __test__ = False  # not a class of tests

    pids: np.ndarray
    cameras: np.ndarray
    numbers: np.ndarray
    table: tuple[Camera, ...]
    permutations: dict[tuple[int, int], np.ndarray] | None = None

    def of(self, attribute: str) -> np.ndarray:
        """An attribute of each image's camera: ``number``, ``location`` or ``modality`` (N,)."""
        return self._attributes[attribute]

    @cached_property
    def _attributes(self) -> dict[str, np.ndarray]:
        return {
            name: np.array([int(getattr(camera, name)) for camera in self.table])[self.cameras]
            for name in Camera._fields
        }


class Trial(NamedTuple):
    """One comparison: indices of the queries (Q,) and of the gallery (G,)."""

    query: np.ndarray
    gallery: np.ndarray


@dataclass(frozen=True)
class Protocol:
    """One way to compare; everything a reader of its figures has to know.

    Attributes:
        mode: which gallery cameras (``all``, ``indoor``) or which published variant.
        query, gallery: the modality of each.
        draw: how the gallery is chosen: ``official``, ``seeded`` or ``everything``.
        drawn: ``gallery`` or ``query``: which side is drawn, the other being complete.
        shots: images drawn of each identity and camera.
        cameras: numbers of the gallery cameras; all when empty.
        exclude: what a query is not shown: ``location`` (same place), ``own camera`` (same identity
            under the same camera number) or ``nothing``.
        unique_ids: whether the CMC counts identities (each once) or images.
    """

    mode: str
    query: Modality
    gallery: Modality
    draw: str
    shots: int = 1
    drawn: str = "gallery"
    cameras: tuple[int, ...] = ()
    exclude: str = "nothing"
    unique_ids: bool = True
    trials: int = field(default=TRIALS)

    @property
    def direction(self) -> str:
        """For instance ``infrared → visible``."""
        return f"{self.query.name.lower()} → {self.gallery.name.lower()}"


def _sysu(mode: str, shots: int, draw: str) -> Protocol:
    cameras = (1, 2) if mode == "indoor" else (1, 2, 4, 5)
    return Protocol(
        mode, Modality.INFRARED, Modality.VISIBLE, draw, shots, cameras=cameras, exclude="location"
    )


def _llcm(variant: str, query: Modality, gallery: Modality, drawn: str = "gallery") -> Protocol:
    return Protocol(f"variant {variant}", query, gallery, "seeded", drawn=drawn, exclude="own camera")


_WITHIN_VISIBLE = Protocol("within visible", Modality.VISIBLE, Modality.VISIBLE, "seeded", exclude="location")

#: Families of protocols; a dataset names its family. The first two of a family are its default.
PROTOCOLS: dict[str, dict[str, Protocol]] = {
    "sysu_mm01": {
        f"{mode}/{shots}-shot/{draw}": _sysu(mode, shots, draw)
        for draw in ("official", "seeded")
        for shots in (1, 10)
        for mode in ("all", "indoor")
    }
    | {"within-visible/1-shot/seeded": _WITHIN_VISIBLE},
    "regdb": {
        f"{query.name.lower()}-to-{gallery.name.lower()}{name}": Protocol(
            "all", query, gallery, "everything", unique_ids=unique, trials=1
        )
        # AGW's code counts images in the CMC, MCJA's identities.
        for name, unique in (("", False), ("/identities", True))
        for query, gallery in (
            (Modality.VISIBLE, Modality.INFRARED),
            (Modality.INFRARED, Modality.VISIBLE),
        )
    },
    "llcm": {
        "infrared-to-visible/A": _llcm("A", Modality.INFRARED, Modality.VISIBLE),
        "visible-to-infrared/A": _llcm("A", Modality.VISIBLE, Modality.INFRARED),
        # The authors' code since June 2023: drawn infrared probes against every visible image.
        "visible-to-infrared/B": _llcm("B", Modality.INFRARED, Modality.VISIBLE, drawn="query"),
    },
    "cross_modality": {
        "infrared-to-visible": Protocol(
            "all", Modality.INFRARED, Modality.VISIBLE, "everything", exclude="own camera", trials=1
        ),
        "visible-to-infrared": Protocol(
            "all", Modality.VISIBLE, Modality.INFRARED, "everything", exclude="own camera", trials=1
        ),
    },
}


def choose(family: str, names: list[str], test_set: TestSet) -> dict[str, Protocol]:
    """The named protocols of a family, or its default ones.

    Where an official draw is the default and the test set has none on disk, the seeded one stands in.

    Raises:
        InputError: for an unknown name, or an official draw asked for where its file is missing.
    """
    table = PROTOCOLS[family]
    if not names:
        names = list(table)[:2]
        if test_set.permutations is None:
            names = [name.replace("official", "seeded") for name in names]
    for name in names:
        if name not in table:
            raise unknown_name("protocol in test.protocols", name, table)
        if table[name].draw == "official" and test_set.permutations is None:
            raise InputError(
                f"protocol {name} needs rand_perm_cam.mat, which is neither in exp/ nor in the dataset's "
                "folder: put it there or choose the seeded draw"
            )
    return {name: table[name] for name in names}


def trials(protocol: Protocol, test_set: TestSet) -> Iterator[Trial]:
    """The index arrays of each trial.

    Raises:
        InputError: when the test set has no image for one of the sides.
    """
    modality = test_set.of("modality")
    sides = {"query": np.nonzero(modality == protocol.query)[0]}
    eligible = modality == protocol.gallery
    if protocol.cameras:
        eligible &= np.isin(test_set.of("number"), protocol.cameras)
    sides["gallery"] = np.nonzero(eligible)[0]
    groups = _groups(test_set, sides[protocol.drawn])
    for number in range(protocol.trials):
        chosen = dict(sides)
        if protocol.draw != "everything":
            chosen[protocol.drawn] = _DRAWS[protocol.draw](groups, number, protocol.shots, test_set)
        if not len(chosen["query"]) or not len(chosen["gallery"]):
            raise InputError(
                f"protocol {protocol.mode}, {protocol.direction}: the test set has no images for it"
            )
        yield Trial(**chosen)


def require_matches(name: str, protocol: Protocol, test_set: TestSet, drawn: Iterable[Trial]) -> None:
    """Make sure that a query of some trial is shown an image of its identity.

    Raises:
        InputError: Naming what leaves no query a match.
    """
    in_common, shared = False, set()
    key = test_set.of("location" if protocol.exclude == "location" else "number")
    if protocol.exclude == "nothing":
        key = np.arange(len(test_set.pids))  # nothing is hidden
    for query, gallery in drawn:
        shown = {(int(test_set.pids[i]), int(key[i])) for i in gallery}
        keys: dict[int, set[int]] = defaultdict(set)
        for pid, own in shown:
            keys[pid].add(own)
        for i in query:
            found = keys.get(int(test_set.pids[i]), set())
            if found - {int(key[i])}:
                return
            in_common |= bool(found)
            shared |= found
    if not in_common:
        raise InputError(
            f"protocol {name}: query and gallery have no identity in common: check the test identities"
        )
    what = "location" if protocol.exclude == "location" else "camera number"
    which = f"{what}{'s' if len(shared) > 1 else ''} {', '.join(map(str, sorted(shared)))}"
    raise InputError(
        f"protocol {name}: no query has a match left, as both modalities share {which} and exclude "
        f"{protocol.exclude!r} hides what a query shares its {what} with: give the cameras of the two modalities "
        f"{what}s of their own"
    )


def shown_alike(protocol: Protocol, test_set: TestSet, trial: Trial) -> list[Trial]:
    """A trial in parts whose queries are shown the same cameras, with the gallery of these alone.

    Where queries are not shown their own location there is a part for each of their locations. What ``own
    camera`` hides depends on the identity, too: it is still in the gallery.
    """
    if protocol.exclude != "location":
        return [trial]
    query, gallery = (test_set.of("location")[side] for side in trial)
    return [Trial(trial.query[query == own], trial.gallery[gallery != own]) for own in np.unique(query)]


def excluded(
    protocol: Protocol, test_set: TestSet, query: np.ndarray, gallery: np.ndarray
) -> np.ndarray | None:
    """What each query is not shown (Q, G), or nothing."""
    if protocol.exclude == "nothing":
        return None
    key = test_set.of("location" if protocol.exclude == "location" else "number")
    same = key[query][:, None] == key[gallery][None, :]
    if protocol.exclude == "own camera":
        same &= test_set.pids[query][:, None] == test_set.pids[gallery][None, :]
    return same


Groups = dict[tuple[int, int], list[int]]  # images of each (identity, camera number), by number


def _groups(test_set: TestSet, indices: np.ndarray) -> Groups:
    """The images of each identity and camera, identities outer and cameras inner, both ascending."""
    groups: Groups = defaultdict(list)
    camera = test_set.of("number")
    for i in indices[np.lexsort((test_set.numbers[indices], camera[indices], test_set.pids[indices]))]:
        groups[int(test_set.pids[i]), int(camera[i])].append(int(i))
    return groups


def _seeded(groups: Groups, trial: int, shots: int, test_set: TestSet) -> np.ndarray:
    """Python's generator seeded with the trial, one choice (or sample) for each group in turn."""
    rng = random.Random(trial)
    if shots == 1:
        return np.array([rng.choice(images) for images in groups.values()], dtype=np.int64)
    drawn = [rng.sample(images, min(shots, len(images))) for images in groups.values()]
    return np.array([i for images in drawn for i in images], dtype=np.int64)


def _official(groups: Groups, trial: int, shots: int, test_set: TestSet) -> np.ndarray:
    """The first images of the published permutation; its entries are image numbers, from 1."""
    drawn: list[int] = []
    for (pid, camera), images in groups.items():
        order = (test_set.permutations or {}).get((camera, pid))
        if order is None or trial >= len(order):
            raise InputError(
                f"rand_perm_cam.mat has no draw {trial + 1} for identity {pid} under camera {camera}: "
                "it belongs to another dataset; choose the seeded draw"
            )
        by_number = {int(test_set.numbers[i]): i for i in images}
        drawn += [by_number[n] for n in order[trial].tolist() if n in by_number][:shots]
    return np.array(drawn, dtype=np.int64)


_DRAWS: dict[str, Callable[[Groups, int, int, TestSet], np.ndarray]] = {
    "official": _official,
    "seeded": _seeded,
}
