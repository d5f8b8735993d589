"""What things cost on the machine at hand, each beside what it cannot do without.

python tools/bench.py all --quick
python tools/bench.py mmgl --precision bf16 --streams 1
python tools/bench.py step --backbone resnet50 --size 288 144 --out bench.json

Figures are medians of steps that take turns, and ratios those of neighbours in time. Leave the machine alone.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from pathlib import Path

import commandline

#: The parts, by the function of benchmarks/ that measures each.
PARTS = {
    "startup": "startup:run",
    "images": "images:run",
    "loss": "loss:run",
    "identities": "identities:run",
    "step": "step:run",
    "mmgl": "mmgl:run",
    "processes": "processes:run",
    "evaluation": "evaluation:run",
    "scale": "evaluation:scale",
    "rerank": "rerank:run",
    "index": "index:run",
}


def main() -> int:
    """Runs the command line; returns the exit status."""
    parser = commandline.parser(__doc__)
    parser.add_argument("parts", nargs="+", choices=(*PARTS, "all"), help="what to measure")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller galleries")
    parser.add_argument("--out", type=Path, help="also write the figures there, as JSON")
    steps = parser.add_argument_group("of the parts step, mmgl and processes")
    steps.add_argument("--backbone", default="resnet18", help="torchreid's name of it")
    steps.add_argument("--size", type=int, nargs=2, default=(96, 48), metavar=("H", "W"), help="in pixels")
    steps.add_argument("--batch-size", type=int, default=64, help="images")
    steps.add_argument("--streams", type=int, default=2, help="of mmgl: 1 or 2")
    steps.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    args = parser.parse_args()
    return commandline.status(lambda: measure(args), args)


def measure(args: argparse.Namespace) -> None:
    """Measures, prints and writes the figures of the parts that were asked for."""
    from benchmarks.figures import machine

    from torchreid_vi import InputError
    from torchreid_vi.extras import require

    if args.batch_size < 8 or args.batch_size % 8:
        raise InputError(f"--batch-size is {args.batch_size}: it must be a multiple of 8")
    if args.out:
        if args.out.is_dir():
            raise InputError(f"{args.out} is a folder: name a file in it")
        args.out.parent.mkdir(parents=True, exist_ok=True)
    if {"index", "all"} & {*args.parts}:
        require("search", "the part index")
    found: dict[str, list[dict]] = {}
    here = machine()
    print(", ".join(f"{name} {value}" for name, value in here.items()))
    for part in PARTS if "all" in args.parts else dict.fromkeys(args.parts):
        module, _, function = PARTS[part].partition(":")
        start = time.perf_counter()
        figures = getattr(importlib.import_module(f"benchmarks.{module}"), function)(args)
        print(f"\n{part}, measured in {time.perf_counter() - start:.0f} s")
        for figure in figures:
            print(f"  {figure.name:55} {figure.value:12.3f} {figure.unit:11} {figure.goal}")
        found[part] = [figure._asdict() for figure in figures]
        if args.out:
            args.out.write_text(json.dumps({"machine": here, "figures": found}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
