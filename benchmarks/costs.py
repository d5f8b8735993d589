"""Measure what parts of the package cost on the machine at hand, each beside what it needs at least.

python benchmarks/costs.py all --quick
python benchmarks/costs.py evaluation rerank --out costs.json

Values are medians of rounds that take turns, and ratios those of neighbours in time. Leave the machine alone.
What training and extraction cost is for throughput.py.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from pathlib import Path

from torchreid_vi.cli import common

#: The parts, by the function of parts/ that measures each.
PARTS = {
    "startup": "startup:run",
    "loss": "loss:run",
    "identities": "identities:run",
    "processes": "processes:run",
    "evaluation": "evaluation:run",
    "scale": "evaluation:scale",
    "rerank": "rerank:run",
    "index": "index:run",
}


def main() -> int:
    """Run the command line; return the exit status."""
    parser = common.parser(__doc__)
    parser.add_argument("parts", nargs="+", choices=(*PARTS, "all"), help="what to measure")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller galleries")
    parser.add_argument("--out", type=Path, help="JSON file to write, too")
    training = parser.add_argument_group("of the part processes")
    training.add_argument("--backbone", default="resnet18", help="torchreid's name of it")
    training.add_argument("--size", type=int, nargs=2, default=(96, 48), metavar=("H", "W"), help="in pixels")
    training.add_argument("--batch-size", type=int, default=64, help="images of a batch")
    args = parser.parse_args()
    return common.status(lambda: measure(args), args)


def measure(args: argparse.Namespace) -> None:
    """Measure the parts that were asked for; print and write what was found."""
    from parts.measurement import check_output, machine

    from torchreid_vi import InputError
    from torchreid_vi.extras import require

    if args.batch_size < 8 or args.batch_size % 8:
        raise InputError(f"--batch-size is {args.batch_size}: it must be a multiple of 8")
    check_output(args.out)
    if {"index", "all"} & {*args.parts}:
        require("search", "the part index")
    found: dict[str, list[dict]] = {}
    here = machine()
    print(", ".join(f"{name} {value}" for name, value in here.items()))
    for part in PARTS if "all" in args.parts else dict.fromkeys(args.parts):
        module, _, function = PARTS[part].partition(":")
        start = time.perf_counter()
        rows = getattr(importlib.import_module(f"parts.{module}"), function)(args)
        print(f"\n{part}, measured in {time.perf_counter() - start:.0f} s")
        for row in rows:
            print(f"  {row.name:55} {row.value:12.3f} {row.unit:11} {row.goal}")
        found[part] = [row._asdict() for row in rows]
        if args.out:
            args.out.write_text(json.dumps({"machine": here, "parts": found}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
