"""Reads changed files of every kind and prints what came of them.

python tests/faults/fuzz.py --cases 100000
"""

import argparse
import sys
import time

import targets


def main():
    """Runs the command line; returns 0 if every file was read or refused."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    begun = time.monotonic()
    counts = targets.fuzz(args.cases, args.seed)
    print(targets.table(counts))
    print(f"{(time.monotonic() - begun) / 60:.1f} minutes")
    fine = sum(counts[f"{name} {outcome}"] for name in targets.TARGETS for outcome in ("read", "refused"))
    return int(fine != args.cases)


if __name__ == "__main__":
    sys.exit(main())
