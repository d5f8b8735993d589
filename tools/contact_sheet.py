"""Draws a contact sheet of a dataset: people in rows, visible images left, infrared images right.

python tools/contact_sheet.py vi_synthetic --root reid-data --out people.jpg
"""

from __future__ import annotations

import argparse
import sys


def main() -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", help="name of a registered visible-infrared dataset")
    parser.add_argument("--root", default="reid-data", help="folder that holds the datasets' folders")
    parser.add_argument("--out", required=True, help="image file to write")
    parser.add_argument("--ids", type=int, default=6, help="rows")
    parser.add_argument("--images", type=int, default=5, help="columns of each modality")
    args = parser.parse_args()
    from torchreid_vi import InputError
    from torchreid_vi.data import DATASETS
    from torchreid_vi.data.contact_sheet import contact_sheet
    from torchreid_vi.errors import unknown_name

    try:
        if args.dataset not in DATASETS:
            raise unknown_name("dataset", args.dataset, DATASETS)
        contact_sheet(DATASETS[args.dataset](root=args.root), args.ids, args.images).save(
            args.out, quality=85
        )
    except (InputError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"written: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
