"""Group run folders by method: runs that differ in seed or split alone are one method."""

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
        name: Name of its config file.
        folders: Folders of its runs.
        contents: Content of ``results.json`` of each run.
    """

    name: str
    folders: list[Path] = field(default_factory=list)
    contents: list[dict[str, Any]] = field(default_factory=list)

    @property
    def labels(self) -> list[str]:
        """Labels of its results, in order."""
        return [result["label"] for result in self.contents[0]["results"]]

    @property
    def dataset(self) -> str:
        """Name of the dataset that it was tested on."""
        return str(self.contents[0]["results"][0]["dataset"]["name"])

    def values(self, label: str, metric: str) -> list[float]:
        """Return a metric of one result, of each run."""
        number = self.labels.index(label)
        return [content["results"][number]["mean"][metric] for content in self.contents]

    def scores(self, label: str) -> dict[int, np.ndarray]:
        """Return by query its hit at rank 1 and average precision (2,), means over gallery draws and runs."""
        found: dict[int, list[tuple[float, float]]] = {}
        for queries, first, ap in self._draws(label):
            for query, rank, precision in zip(queries.tolist(), first, ap, strict=True):
                found.setdefault(query, []).append((rank <= 1, precision))
        return {query: np.mean(values, axis=0) for query, values in found.items()}

    def cmc(self, label: str, ranks: int = 20) -> np.ndarray:
        """Return the share of queries (ranks,) whose first match is at rank 1, 2, … or before."""
        each = [first[:, None] <= np.arange(1, ranks + 1) for _, first, _ in self._draws(label)]
        return np.mean([np.mean(hits, axis=0) for hits in each], axis=0)

    def _draws(self, label: str) -> Iterator[list[np.ndarray]]:
        """Yield the queries, first ranks and average precisions of every gallery draw, of every run."""
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
        """Return the training loss of every epoch (epochs,), of each run that logged it."""
        logged = (scalars(folder) for folder in self.folders)
        return [found["Train/loss"][1] for found in logged if "Train/loss" in found]

    def cost(self) -> tuple[float, float, float]:
        """Return million parameters, and the means over runs of minutes of training and of images a second."""
        training = [content["training"] for content in self.contents]
        seconds = np.array([run["seconds"] for run in training])
        rate = [run["images"] / run["seconds"] if run["seconds"] else np.nan for run in training]
        return training[0]["parameters"] / 1e6, float(seconds.mean() / 60), float(np.mean(rate))


def scalars(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the epochs and values of everything that a run logged to TensorBoard, by name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    logged = {name: events.Scalars(name) for name in events.Tags()["scalars"]}
    return {
        name: (np.array([each.step for each in values]), np.array([each.value for each in values]))
        for name, values in logged.items()
    }


def _read_rankings(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file without unpickling anything."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            content = dict(arrays)
        for draw in {name.rpartition("/")[0] for name in content}:
            query, *ranked = (content[f"{draw}/{name}"] for name in ("query", "first", "ap"))
            numbers = query.dtype.kind == "i" and all(values.dtype.kind in "if" for values in ranked)
            if query.ndim != 1 or not numbers or any(values.shape != query.shape for values in ranked):
                raise ValueError
        return content
    except Exception as error:  # whatever a damaged file makes the reader raise
        raise InputError(f"{path} is damaged or holds objects: evaluate the run again") from error


def collect(folders: Iterable[Path]) -> list[Method]:
    """Return the methods that finished runs belong to, in the order of their first folder.

    Args:
        folders: Folders of runs, with ``config.yaml``, ``results.json`` and ``rankings.npz``.

    Raises:
        InputError: For a folder without a finished run, for two runs that are the same or were tested on different
            datasets, and for two runs of one method that were evaluated differently.
    """
    methods: dict[str, Method] = {}
    known: dict[str, Path] = {}
    tested: dict[str, Path] = {}
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
        named = (folder.parent if OF_A_SERIES.fullmatch(folder.name) else folder).name
        named = re.sub(r"-[0-9a-f]{8}$", "", named)  # the fingerprint of its settings
        method = methods.setdefault(json.dumps(settings, sort_keys=True), Method(named))
        method.folders.append(folder)
        method.contents.append(_read_results(folder / "results.json"))
        tested |= {result["dataset"]["name"]: folder for result in method.contents[-1]["results"]}
        if [result["label"] for result in method.contents[-1]["results"]] != method.labels:
            raise InputError(f"the runs of {method.name} have different results: evaluate them alike")
    if len(tested) > 1:
        where = " and ".join(f"{folder} on {name}" for name, folder in tested.items())
        raise InputError(f"metrics of different people are not compared, {where}: name runs of one dataset")
    return list(methods.values())


def _read_results(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = read_json(path, "evaluate the run again")
    try:
        texts = [
            text for result in content["results"] for text in (result["label"], result["dataset"]["name"])
        ]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} holds no results of this version: evaluate the run again") from error
    return content


def labels(methods: Sequence[Method]) -> list[str]:
    """Return the labels of all results of all methods, in order of appearance."""
    return list(dict.fromkeys(label for method in methods for label in method.labels))
