"""Show one run on one page: metrics, curves, ranked galleries, confusions, activations, augmentation.

torchreid-vi report log/mcja_synthetic
torchreid-vi report log/mcja_sysu --root /data --out mcja.html
torchreid-vi report log/mcja_sysu --root /data --people blurred

The page needs nothing else and can be sent as it is. It shows pictures of people: --people blurred
hides the top of every crop, where the head is, and --people none leaves the pictures out.
"""

from __future__ import annotations

from torchreid_vi.cli import common
from torchreid_vi.report import write_report


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = common.parser(__doc__)
    parser.add_argument("run", help="folder of a finished run")
    parser.add_argument("--out", default="", help="file to write (default: report.html in the run's folder)")
    parser.add_argument("--root", default="", help="folder that holds the datasets' folders, if they moved")
    parser.add_argument(
        "--people", choices=("shown", "blurred", "none"), default="shown", help="how to show pictures of them"
    )
    args = parser.parse_args(arguments)

    def work() -> None:
        common.written(write_report(args.run, args.out, args.root, args.people))

    return common.status(work, args)
