"""Trains and evaluates: the command line of torchreid's scripts/main.py.

torchreid-vi train --config-file mcja_synthetic
torchreid-vi train --config-file mcja_sysu --root /data train.max_epoch 60
torchreid-vi train --config-file mcja_regdb --root /data --trials 1-10
torchrun --nproc-per-node 8 -m torchreid_vi train --config-file mcja_sysu --root /data

With --trials or --seeds each run has a folder of its own under data.save_dir, and the mean over
them is printed at the end. The same command goes on where it was interrupted: SIGINT (Ctrl-C) and
SIGTERM let the step under way finish and save it, with exit status 130 and 143; under torchrun they
end the run, which goes on from its last epoch.
"""

from __future__ import annotations

import json
import logging
from typing import Any, NamedTuple

from torchreid_vi.cli import common

log = logging.getLogger(__name__)


class Command(NamedTuple):
    """What a command line asks for: a file, the settings that options name, KEY VALUE pairs, and a series."""

    file: str
    overrides: dict[str, Any]
    options: list[str]
    trials: str
    seeds: str
    quiet: bool
    imports: list[str]


def parse(arguments: list[str] | None = None) -> Command:
    """Reads the command line."""
    parser = common.parser(__doc__)
    parser.add_argument("--config-file", default="", help="YAML file of settings, as in configs/")
    parser.add_argument("--root", help="folder that holds the datasets' folders (data.root)")
    parser.add_argument("-s", "--sources", nargs="+", help="training datasets (data.sources)")
    parser.add_argument("-t", "--targets", nargs="+", help="test datasets (data.targets)")
    parser.add_argument("--transforms", nargs="+", help="training transforms (data.transforms)")
    parser.add_argument("--trials", default="", help="splits to run, such as 1-10 (data.split_id 0 to 9)")
    parser.add_argument("--seeds", default="", help="seeds to run with, such as 1-3 (train.seed)")
    parser.add_argument(
        "options",
        nargs="*",
        metavar="KEY VALUE",
        help="any setting, such as train.max_epoch 10 or loss.cmr.epsilon 0.1",
    )
    args = parser.parse_intermixed_args(arguments)
    overrides, options = {}, list(args.options)
    for name in ("root", "sources", "targets", "transforms"):
        value = getattr(args, name)
        if isinstance(value, list):
            value, pairs = _split(value)
            options += pairs
        if value:
            overrides[f"data.{name}"] = value
    return Command(args.config_file, overrides, options, args.trials, args.seeds, args.quiet, args.imports)


def _split(values: list[str]) -> tuple[list[str], list[str]]:
    """Names, and the KEY VALUE pairs that follow them: a key but imports has a dot, which no name has."""
    end = next((i for i, value in enumerate(values) if "." in value or value == "imports"), len(values))
    return values[:end], values[end:]


def run_series(cfg: Any, trials: str, seeds: str) -> None:
    """Completes every run of a series and prints and saves the mean over them."""
    from torchreid_vi import distributed, files, series
    from torchreid_vi.folders import expanded

    runs = series.members(
        cfg,
        series.numbers(trials) if trials else (),
        series.numbers(seeds) if seeds else (),
    )
    log.info(f"{len(runs)} runs, of which finished ones are not run again; all goes to {cfg.data.save_dir}")
    contents = []
    for number, (name, one) in enumerate(runs.items(), 1):
        log.info(f"{name}, run {number} of {len(runs)}")
        contents.append(series.complete(one))
    rows = series.summarise(contents)
    if distributed.rank():
        return
    summary = expanded(cfg.data.save_dir) / "summary.json"
    files.write_text(summary, json.dumps({"runs": list(runs), "results": rows}, indent=1) + "\n")
    print(f"{cfg.data.save_dir}: mean ± sample deviation over {len(runs)} runs\n{series.format_series(rows)}")
    log.info(f"Written: {summary}")


def main(arguments: list[str] | None = None, evaluate: bool = False) -> int:
    """Run the command; return the exit status."""
    asked = parse(arguments)

    def work() -> None:
        from torchreid_vi import distributed
        from torchreid_vi.config import load_config
        from torchreid_vi.runner import run

        overrides = asked.overrides | ({"test.evaluate": True} if evaluate else {})
        with distributed.connected():
            cfg = load_config(asked.file, overrides, asked.options, asked.imports)
            if asked.trials or asked.seeds:
                run_series(cfg, asked.trials, asked.seeds)
            else:
                run(cfg)

    return common.status(
        work,
        asked,
        interrupted="the same command goes on from here",
    )
