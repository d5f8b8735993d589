"""Draws a contact sheet of a dataset: people in rows, visible images left, infrared images right.

python tools/contact_sheet.py vi_synthetic --root reid-data --out people.jpg
"""

from __future__ import annotations

import sys

import commandline


def main() -> int:
    """Runs the command line; returns the exit status."""
    parser = commandline.parser(__doc__)
    parser.add_argument("dataset", help="name of a registered visible-infrared dataset")
    parser.add_argument("--root", default="reid-data", help="folder that holds the datasets' folders")
    parser.add_argument("--out", required=True, type=commandline.picture_file, help="image file to write")
    parser.add_argument("--ids", type=int, default=6, help="rows")
    parser.add_argument("--images", type=int, default=5, help="columns of each modality")
    parser.add_argument("--people", choices=("shown", "blurred"), default="shown", help="or hide their heads")
    args = parser.parse_args()

    def work() -> None:
        from torchreid_vi import InputError
        from torchreid_vi.data.contact_sheet import contact_sheet
        from torchreid_vi.data.named import dataset_named
        from torchreid_vi.data.thermal import thermal_range

        if min(args.ids, args.images) < 1:
            raise InputError("--ids and --images must be at least 1")
        dataset = dataset_named(args.dataset)(root=args.root, verbose=False)
        dataset.scale_by(thermal_range(dataset))
        sheet = contact_sheet(dataset, args.ids, args.images, blurred=args.people == "blurred")
        commandline.save(sheet, args.out, quality=85)

    return commandline.status(work, args)


if __name__ == "__main__":
    sys.exit(main())
