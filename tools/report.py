"""Shows one run on one page: figures, curves, ranked galleries, confusions, activations, augmentation.

python tools/report.py log/mcja_synthetic
python tools/report.py log/mcja_sysu --root /data --out mcja.html

The page needs nothing else and can be sent as it is; it shows pictures of people, so mind whom.
"""

from __future__ import annotations

import argparse
import sys


def main() -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="folder of a finished run")
    parser.add_argument("--out", default="", help="file to write (default: report.html in the run's folder)")
    parser.add_argument("--root", default="", help="folder that holds the datasets' folders, if they moved")
    args = parser.parse_args()
    from torchreid_vi import InputError
    from torchreid_vi.report import write_report

    try:
        print(f"=> Written: {write_report(args.run, args.out, args.root)}")
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
