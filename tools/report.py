"""Shows one run on one page: figures, curves, ranked galleries, confusions, activations, augmentation.

python tools/report.py log/mcja_synthetic
python tools/report.py log/mcja_sysu --root /data --out mcja.html
python tools/report.py log/mcja_sysu --root /data --people blurred

The page needs nothing else and can be sent as it is. It shows pictures of people, so mind whom: --people blurred
hides the top of every crop, where the head is, and --people none leaves the pictures out; figures and curves stay.
"""

from __future__ import annotations

import sys

import commandline


def main() -> int:
    """Runs the command line; returns the exit status."""
    parser = commandline.parser(__doc__)
    parser.add_argument("run", help="folder of a finished run")
    parser.add_argument("--out", default="", help="file to write (default: report.html in the run's folder)")
    parser.add_argument("--root", default="", help="folder that holds the datasets' folders, if they moved")
    parser.add_argument(
        "--people", choices=("shown", "blurred", "none"), default="shown", help="how to show pictures of them"
    )
    args = parser.parse_args()

    def work() -> None:
        from torchreid_vi import console
        from torchreid_vi.report import write_report

        console.say(f"Written: {write_report(args.run, args.out, args.root, args.people)}")

    return commandline.status(work, args)


if __name__ == "__main__":
    sys.exit(main())
