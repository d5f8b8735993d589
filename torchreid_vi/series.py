"""Several runs of one kind: the trials of a dataset, seeds, or whatever is to be compared.

A run that is finished is recognised by its folder's settings and left as it is, one that was cut off goes on
from its last epoch, so the same call continues whatever was interrupted.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import groupby, product
from pathlib import Path
from typing import Any

from yacs.config import CfgNode

from torchreid_vi import distributed, runs
from torchreid_vi.config.defaults import flat
from torchreid_vi.data.datasets import require_split
from torchreid_vi.errors import InputError
from torchreid_vi.evaluation.table import Row, spread
from torchreid_vi.folders import expanded
from torchreid_vi.runner import run

_MOST, _DIGITS = 10_000, 18  # of the runs of a series, and of their numbers


def numbers(text: str) -> list[int]:
    """The whole numbers that a text such as ``1-3,7`` names, in its order.

    Raises:
        InputError: when it names none.

    >>> numbers("1-3,7")
    [1, 2, 3, 7]
    """
    named: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError(f"'{text}' names no whole numbers: write them as in 1-10 or 1,4,7")
        if max(len(first), len(last)) > _DIGITS or int(last or first) - int(first) >= _MOST - len(named):
            raise InputError(f"'{text[:100]}' is too much: name up to {_MOST:,} numbers of {_DIGITS} digits")
        named += range(int(first), int(last or first) + 1)
    if not named or len(set(named)) < len(named):
        raise InputError(f"'{text}' names no number, or one twice: write them as in 1-10 or 1,4,7")
    return named


def members(cfg: CfgNode, trials: Sequence[int] = (), seeds: Sequence[int] = ()) -> dict[str, CfgNode]:
    """The settings of each run of a series, by its name, which is its folder's under ``data.save_dir``.

    Args:
        cfg: what the runs share.
        trials: numbers of splits, from 1.
        seeds: of ``train.seed``.

    Raises:
        InputError: for a split that the datasets do not have, and for settings that are not of a training that
            begins anew.
    """
    for key, wrong, remedy in (
        ("test.evaluate", cfg.test.evaluate, "leave it False, and --trials and --seeds out of tools/test.py"),
        (
            "model.resume",
            cfg.model.resume,
            "leave model.resume empty, a run that was cut off goes on by itself",
        ),
        ("train.max_epoch", cfg.train.max_epoch < 1, "set it to at least 1"),
    ):
        if wrong:
            raise InputError(f"a series trains each of its runs, and {key} is {flat(cfg)[key]}: {remedy}")
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
    """Runs what is missing of a run in ``data.save_dir``; returns the content of its ``results.json``.

    Of several processes the first finds out what is missing, and all get the content.

    Raises:
        InputError: when the folder holds a run of other settings, or for anything that
            :func:`~torchreid_vi.run` refuses.
    """
    found = distributed.from_first(lambda: finished(cfg))
    if not found:
        run(cfg, exactly=True)
        found = distributed.from_first(lambda: finished(cfg))
    return found


def finished(cfg: CfgNode) -> runs.Content:
    """Return the content of a run's ``results.json``, nothing when it is not finished.

    Raises:
        InputError: When the folder holds a finished run of other settings.
    """
    folder = expanded(cfg.data.save_dir).absolute()
    found = runs.content(folder)
    if found and (other := runs.difference(cfg, folder)):
        raise InputError(f"{other}: choose another data.save_dir")
    return found


def summarise(contents: Sequence[runs.Content]) -> list[dict[str, Any]]:
    """Mean and sample deviation over runs of every figure of every result.

    Args:
        contents: of the runs, each with the same results in the same order.

    Returns:
        For each result its ``name``, and for each figure of ``each``, ``mean`` and ``std`` the values.
    """
    rows = []
    tested = {part["dataset"]["name"] for part in contents[0]["results"] if "dataset" in part}
    for parts in zip(*(content["results"] for content in contents), strict=True):
        each = [part.get("mean") or part["pretext"] for part in parts]
        name = parts[0].get("label", "pretext")
        if len(tested) > 1:
            name = f"{parts[0]['dataset']['name']}: {name}"
        figures = {figure: [values[figure] for values in each] for figure in each[0]}
        rows.append(
            {
                "name": name,
                "each": figures,
                "mean": {figure: statistics.mean(values) for figure, values in figures.items()},
                "std": {figure: _deviation(values) for figure, values in figures.items()},
            }
        )
    return rows


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def format_series(rows: Sequence[dict[str, Any]]) -> str:
    """Return a table of what :func:`summarise` returns: mean and deviation over the runs."""
    lines: list[str] = []
    for _, alike in groupby(rows, key=lambda row: list(row["mean"])):
        shown = [
            Row(row["name"], row["mean"], row["std"], len(next(iter(row["each"].values())))) for row in alike
        ]
        lines += spread(shown, "runs")
    return "\n".join(lines)
