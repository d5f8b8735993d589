"""Gallery draws: the index arrays of a protocol over a test set, and what a query is not shown.

A draw is a pure function of the test set and the trial's number.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from torchreid_vi.errors import InputError
from torchreid_vi.evaluation.protocols import Protocol, TestSet


class Trial(NamedTuple):
    """One gallery draw or split: indices of the queries (Q,) and of the gallery (G,)."""

    query: np.ndarray
    gallery: np.ndarray


def trials(protocol: Protocol, test_set: TestSet) -> Iterator[Trial]:
    """Yield the index arrays of each trial.

    Raises:
        InputError: When the test set has no image for one of the sides.
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


def split_by_location(protocol: Protocol, test_set: TestSet, trial: Trial) -> list[Trial]:
    """Split a trial into parts whose queries are shown the same gallery images.

    Where a protocol excludes the query's location there is a part for each location of queries. What ``own camera``
    hides depends on the identity, too, and stays in the gallery.
    """
    if protocol.exclude != "location":
        return [trial]
    query, gallery = (test_set.of("location")[side] for side in trial)
    return [Trial(trial.query[query == own], trial.gallery[gallery != own]) for own in np.unique(query)]


def excluded(
    protocol: Protocol, test_set: TestSet, query: np.ndarray, gallery: np.ndarray
) -> np.ndarray | None:
    """Return which gallery images each query is not shown (Q, G), or None for none."""
    if protocol.exclude == "nothing":
        return None
    key = test_set.of("location" if protocol.exclude == "location" else "number")
    same = key[query][:, None] == key[gallery][None, :]
    if protocol.exclude == "own camera":
        same &= test_set.pids[query][:, None] == test_set.pids[gallery][None, :]
    return same


Groups = dict[tuple[int, int], list[int]]  # images of each (identity, camera number), by number


def _groups(test_set: TestSet, indices: np.ndarray) -> Groups:
    """Group images by identity and camera, identities outer and cameras inner, both ascending."""
    groups: Groups = defaultdict(list)
    camera = test_set.of("number")
    for i in indices[np.lexsort((test_set.numbers[indices], camera[indices], test_set.pids[indices]))]:
        groups[int(test_set.pids[i]), int(camera[i])].append(int(i))
    return groups


def _seeded(groups: Groups, trial: int, shots: int, test_set: TestSet) -> np.ndarray:
    """Sample from each group in turn, by Python's generator seeded with the trial."""
    rng = random.Random(trial)
    if shots == 1:
        return np.array([rng.choice(images) for images in groups.values()], dtype=np.int64)
    drawn = [rng.sample(images, min(shots, len(images))) for images in groups.values()]
    return np.array([i for images in drawn for i in images], dtype=np.int64)


def _official(groups: Groups, trial: int, shots: int, test_set: TestSet) -> np.ndarray:
    """Take the first images of the published permutation, whose entries are image numbers, from 1."""
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
