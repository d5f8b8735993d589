"""Compare methods: run what is missing, then write tables and a page.

torchreid-vi compare --configs base_synthetic mcja_synthetic --seeds 3 --out reports/a
torchreid-vi compare --configs mcja_sysu --vary loss.cmr.epsilon 0.5 0.1 0.03 --out reports/epsilon
torchreid-vi compare --runs log/base_sysu log/mcja_sysu --out reports/sysu

Settings that follow, as KEY VALUE, change every config, and --vary makes a config of each of its
values; with several --vary, of each combination. Finished runs are recognised by their settings and
the package's version, interrupted ones are continued by the same command.
"""

from __future__ import annotations

import argparse
import logging
import sys
from itertools import product
from pathlib import Path
from typing import Any

from torchreid_vi import build, config, console, series
from torchreid_vi.cli import common, jobs
from torchreid_vi.errors import InputError
from torchreid_vi.report import collect, plain_table, write_comparison

log = logging.getLogger(__name__)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = common.parser(__doc__)
    parser.add_argument("--configs", nargs="+", default=[], help="YAML files of settings, as in configs/")
    parser.add_argument(
        "--vary", nargs="+", action="append", default=[], metavar=("KEY", "VALUE"), help="a setting's values"
    )
    parser.add_argument("--runs", nargs="+", default=[], type=Path, help="folders of finished runs")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each config, with seeds 1, 2, …")
    jobs.add_jobs(parser, 1)
    parser.add_argument("--root", help="folder that holds the datasets' folders (data.root)")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs, tables and page")
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help="settings for every config")
    return parser.parse_intermixed_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    args = parse(arguments)

    def work() -> None:
        asked = args.vary or args.seeds != 1 or args.jobs != 1 or args.root or args.options
        if bool(args.configs) == bool(args.runs) or args.seeds < 1 or args.jobs < 1 or (args.runs and asked):
            raise InputError(
                "name either --configs to run, with --seeds and --jobs at least 1, or --runs that are finished, "
                "with --out alone"
            )
        folders = args.runs
        if args.configs:
            runs = plan(args)
            if args.one is not None:
                series.complete(runs[args.one])
                return
            log.info(f"{len(runs)} runs, of which finished ones are not run again; all goes to {args.out}")
            complete_all(runs, args.jobs)
            folders = [Path(cfg.data.save_dir) for cfg in runs]
        methods = collect(folders)
        paths = write_comparison(methods, args.out)
        console.RESULTS.info(plain_table(methods))
        for path in paths:
            common.written(path)

    args.onward = "the same command goes on from here"
    return common.status(work, args)


def plan(args: argparse.Namespace) -> list[Any]:
    """Return the settings of every run, all methods with seed 1 before any with seed 2.

    Raises:
        InputError: For configs that are no methods to compare, or two that are the same.
    """
    files, options = _split(args.configs)
    options += args.options
    varied = {}
    for key, *texts in args.vary:
        if key in varied:
            raise InputError(f"--vary {key} comes twice: name all of its values at once")
        varied[key], more = _split(texts)
        options += more
        if not varied[key]:
            raise InputError(f"--vary {key} names no value: write --vary {key} VALUE VALUE …")
    if "train.seed" in (*varied, *options[::2]):
        raise InputError("train.seed is what --seeds counts: leave it out, and set --seeds")
    runs: list[Any] = []
    known: dict[str, str] = {}
    root = {"data.root": args.root} if args.root else {}
    for file, *values in product(files, *varied.values()):
        changes = [text for pair in zip(varied, values, strict=True) for text in pair]
        cfg = config.load_config(file, root, options + changes, args.imports)
        name = ",".join([Path(file).stem, *(config.short(cfg, key) for key in varied)])
        mark = config.fingerprint(cfg)
        if mark in known:
            raise InputError(f"{known[mark]} and {name} are the same method: repeat runs by --seeds")
        if build.method_class(cfg).self_supervised:
            raise InputError(f"{name} pre-trains and retrieves nothing: compare what starts from it")
        known[mark] = name
        cfg.data.save_dir = str(args.out / "runs" / f"{name}-{mark}")
        runs += series.members(cfg, seeds=range(1, args.seeds + 1)).values()
    return sorted(runs, key=lambda cfg: cfg.train.seed)


def complete_all(runs: list[Any], at_a_time: int) -> None:
    """Complete runs, one after the other in this process, or several at a time in processes of their own."""
    names = {
        number: "/".join(Path(cfg.data.save_dir).parts[-2:])
        for number, cfg in enumerate(runs)
        if not series.finished(cfg)
    }
    with console.progress(what="runs", unit="run", total=len(names)) as bar:

        def done(number: int) -> None:
            bar.update()
            first = series.finished(runs[number])["results"][0]
            metrics = ", ".join(f"{name} {first['mean'][name]:.2f}" for name in ("R1", "mAP"))
            log.info(f"Run {bar.n} of {bar.total}: {names[number]}, {first['label']}: {metrics}")

        if at_a_time > 1:
            jobs.run_all(names, at_a_time, done)
            return
        for number, name in names.items():
            bar.set_postfix_str(name, refresh=sys.stderr.isatty())
            with console.muted():
                series.complete(runs[number])
            done(number)


def _split(texts: list[str]) -> tuple[list[str], list[str]]:
    """Return values, and the KEY VALUE pairs that follow them."""
    known = config.keys()
    end = next((i for i, text in enumerate(texts) if text in known), len(texts))
    return texts[:end], texts[end:]
