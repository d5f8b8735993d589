"""From run folders to methods: runs that differ in seed or trial alone are one method."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from torchreid_vi import config
from torchreid_vi.errors import InputError
from torchreid_vi.files import read_json

OF_A_SERIES = re.compile(r"(trial\d+)?-?(seed\d+)?")


@dataclass
class Method:
    """The finished runs of one method.

    Attributes:
        name: of its config file.
        folders: of its runs.
        contents: of their ``results.json``.
    """

    name: str
    folders: list[Path] = field(default_factory=list)
    contents: list[dict[str, Any]] = field(default_factory=list)

    @property
    def labels(self) -> list[str]:
        """Of its results, in order."""
        return [result["label"] for result in self.contents[0]["results"]]

    def figures(self, label: str, figure: str) -> list[float]:
        """A figure of one result, in each run."""
        number = self.labels.index(label)
        return [content["results"][number]["mean"][figure] for content in self.contents]

    def scores(self, label: str) -> dict[int, np.ndarray]:
        """What each query reached: hit at rank 1 and average precision (2,), means over trials and runs."""
        totals: dict[int, list[tuple[float, float]]] = {}
        for query, first, ap in self._trials(label):
            for number, rank, precision in zip(query.tolist(), first, ap, strict=True):
                totals.setdefault(number, []).append((rank <= 1, precision))
        return {query: np.mean(values, axis=0) for query, values in totals.items()}

    def cmc(self, label: str, ranks: int = 20) -> np.ndarray:
        """Share of queries (ranks,) whose first match stands at rank 1, 2, … or before."""
        curves = [
            np.mean(first[:, None] <= np.arange(1, ranks + 1), axis=0) for _, first, _ in self._trials(label)
        ]
        return np.mean(curves, axis=0)

    def _trials(self, label: str) -> Iterator[list[np.ndarray]]:
        """Yield the queries, first ranks and average precisions of every trial of a result, in every run."""
        result = self.labels.index(label)
        for ranking in self._rankings:
            number = 0
            while f"{result}/{number}/query" in ranking:
                yield [ranking[f"{result}/{number}/{name}"] for name in ("query", "first", "ap")]
                number += 1

    @cached_property
    def _rankings(self) -> list[dict[str, np.ndarray]]:
        return [_read_rankings(folder / "rankings.npz") for folder in self.folders]

    def losses(self) -> list[np.ndarray]:
        """The training loss of every epoch (epochs,), in each run that logged it."""
        logged = (scalars(folder) for folder in self.folders)
        return [found["Train/loss"][1] for found in logged if "Train/loss" in found]

    @property
    def dataset(self) -> str:
        return str(self.contents[0]["results"][0]["dataset"]["name"])

    def cost(self) -> tuple[float, float, float]:
        """Million parameters, and the means over runs of minutes of training and of images a second."""
        training = [content["training"] for content in self.contents]
        seconds = np.array([run["seconds"] for run in training])
        rate = [run["images"] / run["seconds"] if run["seconds"] else np.nan for run in training]
        return training[0]["parameters"] / 1e6, float(seconds.mean() / 60), float(np.mean(rate))


def scalars(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Epochs and values of everything that a run logged, by name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    found = {name: events.Scalars(name) for name in events.Tags()["scalars"]}
    return {
        name: (np.array([each.step for each in values]), np.array([each.value for each in values]))
        for name, values in found.items()
    }


def _read_rankings(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file; objects in it, which could run code, are refused."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            content = dict(arrays)
        for trial in {name.rpartition("/")[0] for name in content}:
            query, *ranked = (content[f"{trial}/{name}"] for name in ("query", "first", "ap"))
            if query.dtype.kind != "i" or query.ndim != 1:
                raise ValueError("no numbers of queries")
            if any(values.shape != query.shape or values.dtype.kind not in "if" for values in ranked):
                raise ValueError("no figures of the queries")
        return content
    except Exception as error:  # whatever a damaged file makes the reader raise
        raise InputError(f"{path} is damaged or holds objects: evaluate the run again") from error


def collect(folders: Iterable[Path]) -> list[Method]:
    """The methods that finished runs belong to, in the order of their first folder.

    Args:
        folders: of runs, with ``config.yaml``, ``results.json`` and ``rankings.npz``.

    Raises:
        InputError: for a folder that holds no finished run, for two runs that are the same, or were tested on
            different datasets, and for two runs of one method that were evaluated differently.
    """
    methods: dict[str, Method] = {}
    known: dict[str, Path] = {}
    for folder in folders:
        for name in ("config.yaml", "results.json", "rankings.npz"):
            if not (folder / name).is_file():
                raise InputError(f"{folder} has no {name}: name folders of finished, supervised runs")
        settings = config.comparable(config.read_config(str(folder / "config.yaml")))
        run = json.dumps(settings, sort_keys=True)
        if run in known:
            raise InputError(f"{known[run]} and {folder} are the same run, of one seed: name one of them")
        known[run] = folder
        for key in ("train.seed", "data.split_id"):
            settings.pop(key)
        called = (folder.parent if OF_A_SERIES.fullmatch(folder.name) else folder).name
        called = re.sub(r"-[0-9a-f]{8}$", "", called)  # the mark of its settings
        method = methods.setdefault(json.dumps(settings, sort_keys=True), Method(called))
        method.folders.append(folder)
        method.contents.append(_read_results(folder / "results.json"))
    tested: dict[str, Path] = {}
    for method in methods.values():
        for folder, content in zip(method.folders, method.contents, strict=True):
            tested |= {result["dataset"]["name"]: folder for result in content["results"]}
    if len(tested) > 1:
        where = " and ".join(f"{folder} on {name}" for name, folder in tested.items())
        raise InputError(f"figures of different people are not compared, {where}: name runs of one dataset")
    for method in methods.values():
        labels = [[result["label"] for result in content["results"]] for content in method.contents]
        if any(other != labels[0] for other in labels):
            raise InputError(f"the runs of {method.name} have different results: evaluate them alike")
    return list(methods.values())


def _read_results(path: Path) -> dict[str, Any]:
    """Return the content of a run's ``results.json``.

    Raises:
        InputError: When it is damaged or of another version.
    """
    remedy = "evaluate the run again"
    content: dict[str, Any] = read_json(path, remedy)
    try:
        known = all(
            isinstance(result["label"], str) and isinstance(result["dataset"]["name"], str)
            for result in content["results"]
        )
    except (KeyError, TypeError):
        known = False
    if not known:
        raise InputError(f"{path} holds no results of this version: {remedy}")
    return content


def labels(methods: Sequence[Method]) -> list[str]:
    """Of all results of all methods, in order of appearance."""
    return list(dict.fromkeys(label for method in methods for label in method.labels))
