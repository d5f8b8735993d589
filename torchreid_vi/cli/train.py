"""Train and evaluate: the command line of torchreid's scripts/main.py.

torchreid-vi train --config-file mcja_synthetic
torchreid-vi train --config-file mcja_sysu --root /data train.max_epoch 60
torchreid-vi train --config-file mcja_regdb --root /data --trials 1-10
torchrun --nproc-per-node 8 -m torchreid_vi train --config-file mcja_sysu --root /data

A single run in one process ends with its report, a page to open in a browser. With --trials or --seeds each run
has a folder of its own under data.save_dir, and the mean over them is printed at the end. The same
command continues an interrupted run: SIGINT (Ctrl-C) and SIGTERM let the current step finish and
save it, with exit status 130 and 143; under torchrun they end the run, which continues from its
last epoch.
"""

from __future__ import annotations

import argparse
import json
import logging
import shlex
from pathlib import Path
from typing import Any

from torchreid_vi import distributed, files, series
from torchreid_vi.cli import common
from torchreid_vi.config import load_config
from torchreid_vi.errors import InputError
from torchreid_vi.folders import expanded
from torchreid_vi.report import write_report
from torchreid_vi.runner import run_in_folder
from torchreid_vi.sharing import locate

log = logging.getLogger(__name__)


def parse(arguments: list[str] | None = None, evaluate: bool = False) -> argparse.Namespace:
    """Read the command line, with ``evaluate`` that of the command that evaluates.

    Returns:
        The options, with those that change settings in ``overrides`` and KEY VALUE pairs in ``options``.
    """
    from torchreid_vi.cli import test

    parser = common.parser(test.__doc__ if evaluate else __doc__)
    about = "YAML file of settings, as in configs/"
    parser.add_argument("--config-file", dest="file", metavar="CONFIG_FILE", default="", help=about)
    parser.set_defaults(weights="", trials="", seeds="", no_report=True)
    if evaluate:
        about = "a run's folder, a checkpoint, a package, or an address; its settings are those of its run"
        parser.add_argument("--weights", help=about)
    else:
        parser.add_argument("--trials", help="splits to run, such as 1-10 (data.split_id 0 to 9)")
        parser.add_argument("--seeds", help="seeds to run with, such as 1-3 (train.seed)")
        about = "write no report.html after a single run"
        parser.add_argument("--no-report", action="store_true", default=False, help=about)
    parser.add_argument("--root", help="folder that holds the datasets' folders (data.root)")
    parser.add_argument("-s", "--sources", nargs="+", help="training datasets (data.sources)")
    parser.add_argument("-t", "--targets", nargs="+", help="test datasets (data.targets)")
    parser.add_argument("--transforms", nargs="+", help="training transforms (data.transforms)")
    about = "any setting, such as train.max_epoch 10 or loss.cmr.epsilon 0.1"
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help=about)
    args = parser.parse_intermixed_args(arguments)
    args.overrides = {}
    for name in ("root", "sources", "targets", "transforms"):
        value = getattr(args, name)
        if isinstance(value, list):  # KEY VALUE pairs may follow names: a key but imports has a dot
            end = next((i for i, text in enumerate(value) if "." in text or text == "imports"), len(value))
            value, pairs = value[:end], value[end:]
            args.options += pairs
        if value:
            args.overrides[f"data.{name}"] = value
    return args


def run_series(cfg: Any, trials: str, seeds: str) -> None:
    """Complete every run of a series, and print and save the mean over them."""
    splits, chosen = (series.numbers(text) if text else [] for text in (trials, seeds))
    runs = series.members(cfg, splits, chosen)
    log.info(f"{len(runs)} runs, of which finished ones are not run again; all goes to {cfg.data.save_dir}")
    contents = []
    for number, (name, one) in enumerate(runs.items(), 1):
        log.info(f"{name}, run {number} of {len(runs)}")
        contents.append(series.complete(one))
    if distributed.rank():
        return
    rows = series.summarise(contents)
    summary = expanded(cfg.data.save_dir) / "summary.json"
    files.write_text(summary, json.dumps({"runs": list(runs), "results": rows}, indent=1) + "\n")
    print(f"{cfg.data.save_dir}: mean ± sample deviation over {len(runs)} runs\n{series.format_series(rows)}")
    common.written(summary)


def report(folder: Path) -> None:
    """Write the report of a finished run; say why if there is none, such as for torchreid's own datasets."""
    log.info("The run is finished; its report is being written")
    try:
        common.written(write_report(folder))
    except (InputError, OSError) as error:
        log.info(f"No report: {error}")


def main(arguments: list[str] | None = None, evaluate: bool = False) -> int:
    """Run the command; return the exit status."""
    args = parse(arguments, evaluate)

    def work() -> None:
        file, overrides = args.file, args.overrides
        with distributed.connected():
            if evaluate:
                overrides["test.evaluate"] = True
            if args.weights:
                overrides["model.load_weights"] = args.weights
                beside = distributed.from_first(lambda: locate(args.weights).settings)
                if not (file or beside):
                    raise InputError(f"{args.weights} lies in no run's folder: name a --config-file")
                file = file or str(beside)
            cfg = load_config(file, overrides, args.options, args.imports)
            if args.trials or args.seeds:
                run_series(cfg, args.trials, args.seeds)
                return
            folder, _ = run_in_folder(cfg)
            quiet = args.no_report or cfg.test.evaluate or distributed.size() > 1
        if not quiet:
            args.onward = (
                f"the run is finished, its report by: torchreid-vi report {shlex.quote(str(folder))}"
            )
            report(folder)

    args.onward = "the same command goes on from here"
    return common.status(work, args)
