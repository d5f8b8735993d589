"""Run several trainings of one kind: the splits of a dataset, seeds, or whatever is compared.

A finished run is recognised by its folder's settings and kept, an interrupted one is continued, so the same call
continues whatever was interrupted.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from itertools import groupby, product
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from torchreid_vi import distributed, runs
from torchreid_vi.data.datasets import require_split
from torchreid_vi.errors import InputError
from torchreid_vi.evaluation.table import Row, spread
from torchreid_vi.folders import expanded
from torchreid_vi.runner import run


def numbers(text: str) -> list[int]:
    """Return the whole numbers that a text such as ``1-3,7`` names, in its order.

    Raises:
        InputError: When it names none, or one twice.

    >>> numbers("1-3,7")
    [1, 2, 3, 7]
    """
    ranges = [re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip()) for part in text.split(",")]
    named = [n for found in ranges if found for n in range(int(found[1]), int(found[2] or found[1]) + 1)]
    if not (named and all(ranges)) or len(set(named)) < len(named):
        raise InputError(f"'{text}' names no numbers, or one twice: write them as in 1-10 or 1,4,7")
    return named


def members(cfg: CfgNode, trials: Sequence[int] = (), seeds: Sequence[int] = ()) -> dict[str, CfgNode]:
    """Return the settings of each run of a series by its name, which is its folder's under ``data.save_dir``.

    Args:
        cfg: Settings that the runs share.
        trials: Numbers of splits, from 1; the split of ``cfg`` when empty.
        seeds: Values of ``train.seed``; the one of ``cfg`` when empty.

    Raises:
        InputError: For a split that the datasets do not have, and for settings that do not train from the start.
    """
    again = "leave model.resume empty, an interrupted run goes on by itself"
    for key, value, wrong, remedy in (
        ("test.evaluate", cfg.test.evaluate, cfg.test.evaluate, "leave it False"),
        ("model.resume", cfg.model.resume, cfg.model.resume, again),
        ("train.max_epoch", cfg.train.max_epoch, cfg.train.max_epoch < 1, "set it to at least 1"),
    ):
        if wrong:
            raise InputError(f"a series trains each of its runs, and {key} is {value}: {remedy}")
    if 0 in trials:
        raise InputError("trial 0 does not exist: they count from 1")
    found = {}
    for trial, seed in product(trials or [cfg.data.split_id + 1], seeds or [cfg.train.seed]):
        one = cfg.clone()
        one.data.split_id, one.train.seed = trial - 1, seed
        require_split([*cfg.data.sources, *cfg.data.targets], one.data.split_id)
        name = "-".join([f"trial{trial}"] * bool(trials) + [f"seed{seed}"] * bool(seeds))
        one.data.save_dir = str(Path(cfg.data.save_dir) / name)
        found[name] = one
    return found


def complete(cfg: CfgNode) -> runs.Content:
    """Do what is missing of the run in ``data.save_dir``; return the content of its ``results.json``.

    Several processes call it together, and all get the content.

    Raises:
        InputError: When the folder holds a run of other settings, or for anything that
            :func:`~torchreid_vi.run` refuses.
    """
    found = distributed.from_first(lambda: finished(cfg))
    if not found:
        run(cfg, exactly=True)
        found = distributed.from_first(lambda: finished(cfg))
    return found


def finished(cfg: CfgNode) -> runs.Content:
    """Return the content of a run's ``results.json``, empty when the run is not finished.

    Raises:
        InputError: When the folder holds a finished run of other settings.
    """
    folder = expanded(cfg.data.save_dir).absolute()
    found = runs.content(folder)
    if found and (other := runs.difference(cfg, folder)):
        raise InputError(f"{other}: choose another data.save_dir")
    return found


def summarise(contents: Sequence[runs.Content]) -> list[dict[str, Any]]:
    """Return the mean and sample deviation over runs of every metric of every result.

    Args:
        contents: Content of ``results.json`` of each run, with the same results in the same order.

    Returns:
        For each result its ``name``, and by metric its values in ``each`` run, their ``mean`` and ``std``.
    """
    rows = []
    tested = {part["dataset"]["name"] for part in contents[0]["results"] if "dataset" in part}
    for parts in zip(*(content["results"] for content in contents), strict=True):
        scores = [part.get("mean") or part["pretext"] for part in parts]
        name = parts[0].get("label", "pretext")
        if len(tested) > 1:
            name = f"{parts[0]['dataset']['name']}: {name}"
        each = {metric: [run[metric] for run in scores] for metric in scores[0]}
        mean = {metric: statistics.mean(values) for metric, values in each.items()}
        std = {metric: statistics.stdev(values) if len(parts) > 1 else 0.0 for metric, values in each.items()}
        rows.append({"name": name, "each": each, "mean": mean, "std": std})
    return rows


def format_series(rows: Sequence[dict[str, Any]]) -> str:
    """Return a table of what :func:`summarise` returns: mean and deviation over the runs."""
    lines: list[str] = []
    for metrics, alike in groupby(rows, key=lambda row: list(row["mean"])):
        shown = [Row(row["name"], row["mean"], row["std"], len(row["each"][metrics[0]])) for row in alike]
        lines += spread(shown, "runs")
    return "\n".join(lines)
