"""Render a synthetic visible-infrared dataset in the layout of a real one.

torchreid-vi synthesize --layout regdb --root reid-data --ids 100 --images 10
torchreid-vi synthesize --shape published --root reid-data
"""

from __future__ import annotations

from torchreid_vi.cli import common
from torchreid_vi.data.synthetic import render_dataset


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = common.parser(__doc__)
    parser.add_argument("--layout", default="sysu", help="sysu, regdb or llcm")
    parser.add_argument("--root", required=True, help="folder that gets the dataset's folder")
    parser.add_argument("--ids", type=int, default=180, help="identities")
    parser.add_argument("--images", type=int, default=6, help="images of each identity under each camera")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes")
    parser.add_argument("--size", type=int, nargs=2, default=(64, 160), metavar=("W", "H"), help="in pixels")
    parser.add_argument("--folder", default="", help="name of the dataset's folder, by default its layout's")
    parser.add_argument(
        "--shape", choices=("free", "published"), default="free", help="published: SYSU-MM01's own counts"
    )
    args = parser.parse_args(arguments)

    def work() -> None:
        sizes = args.ids, args.images, args.seed, tuple(args.size)
        published = args.shape == "published"
        render_dataset(args.root, args.layout, *sizes, args.folder, published)

    args.onward = "nothing was kept"
    return common.status(work, args)
