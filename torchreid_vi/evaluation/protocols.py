"""The protocols of SYSU-MM01, RegDB and LLCM as data: who is compared with whom.

A protocol says which modality queries which, how the gallery is drawn, what a query is not shown and
what the CMC counts; :func:`~torchreid_vi.evaluation.trials` turns it into index arrays over a test set.

Sources: the official SYSU-MM01 evaluation and its permutations (Wu et al., ICCV 2017); the seeded draw
and RegDB's two directions of AGW's evaluation (arXiv 2001.04193); LLCM's of its authors (CVPR 2023).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from torchreid_vi.errors import InputError, unknown_name
from torchreid_vi.modality import Camera, Modality

TRIALS = 10


@dataclass(frozen=True)
class TestSet:
    """The test images of a dataset, by index; every array has N entries.

    Attributes:
        pids: Identities.
        cameras: Index into ``table`` of the camera that took each image.
        numbers: Number of each image among those of its identity and camera, from 1.
        table: The dataset's cameras.
        permutations: Published gallery draws by (camera number, identity), when the dataset has them.
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


@dataclass(frozen=True)
class Protocol:
    """One way to compare queries with a gallery: all that a reader of its metrics has to know.

    Attributes:
        mode: Which gallery cameras (``all``, ``indoor``) or which published variant.
        query, gallery: The modality of each.
        draw: How the gallery is chosen: ``official``, ``seeded`` or ``everything``.
        drawn: ``gallery`` or ``query``: which side is drawn, the other being complete.
        shots: Images drawn of each identity and camera.
        cameras: Numbers of the gallery cameras; all when empty.
        exclude: What a query is not shown: ``location`` (same place), ``own camera`` (same identity
            under the same camera number) or ``nothing``.
        unique_ids: Whether the CMC counts identities (each once) or images.
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
    """Return the named protocols of a family, or its default ones.

    Where an official draw is the default and the test set has none on disk, the seeded one stands in.

    Raises:
        InputError: For an unknown name, or an official draw asked for where its file is missing.
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
