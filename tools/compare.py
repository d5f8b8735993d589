"""Stands methods side by side: runs what is missing, then writes tables and a page.

python tools/compare.py --configs configs/base_synthetic.yaml configs/mcja_synthetic.yaml --seeds 3 --out reports/a
python tools/compare.py --runs log/base_sysu log/mcja_sysu --out reports/sysu

Settings that follow, as KEY VALUE, change every config. Finished runs are recognised by their settings and the
package's version, interrupted ones go on, so the same command continues whatever stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path


def main() -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--configs", nargs="+", default=[], help="YAML files of settings, as in configs/")
    parser.add_argument("--runs", nargs="+", default=[], type=Path, help="folders of finished runs")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each config, with seeds 1, 2, …")
    parser.add_argument("--root", help="folder that holds the datasets' folders (data.root)")
    parser.add_argument("--out", type=Path, required=True, help="folder for runs, tables and page")
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help="settings for every config")
    args = parser.parse_intermixed_args()
    from torchreid_vi import InputError
    from torchreid_vi.report import collect, write_comparison

    configs = [value for value in args.configs if value.endswith((".yaml", ".yml"))]
    options = [value for value in args.configs if value not in configs] + args.options
    try:
        if bool(configs) == bool(args.runs) or args.seeds < 1:
            raise InputError(
                "name either --configs to run, with --seeds at least 1, or --runs that are finished"
            )
        folders = args.runs or complete(configs, options, args.seeds, args.root, args.out)
        for path in write_comparison(collect(folders), args.out):
            print(f"=> Written: {path}")
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted: the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def complete(configs: list[str], options: list[str], seeds: int, root: str | None, out: Path) -> list[Path]:
    """Runs what is missing; returns the folders of all runs."""
    from tqdm import tqdm

    from torchreid_vi import config, load_config, series

    runs = {}
    for file in configs:
        cfg = load_config(file, {"data.root": root} if root else {}, options)
        cfg.data.save_dir = str(out / "runs" / f"{Path(file).stem}-{config.fingerprint(cfg)}")
        for one in series.members(cfg, seeds=range(1, seeds + 1)).values():
            runs[Path(one.data.save_dir)] = one
    with tqdm(runs.items(), desc="runs", unit="run") as bar:
        for folder, one in bar:
            bar.set_postfix_str("/".join(folder.parts[-2:]))
            with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
                series.complete(one)
    return list(runs)


if __name__ == "__main__":
    sys.exit(main())
