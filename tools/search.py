"""Finds a person of one picture among the pictures of a folder.

python tools/search.py --weights log/mcja_synthetic/checkpoints/last.pth --query night.jpg --gallery photos/
python tools/search.py --weights RUN/checkpoints/last.pth --query a.jpg b.jpg --gallery photos/ --picture found.png
python tools/search.py --weights RUN/checkpoints/last.pth --query night/ --gallery photos/

The gallery is embedded when it is first searched; later only pictures that are new or have changed are.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import commandline


def main() -> int:
    """Runs the command line; returns the exit status."""
    parser = commandline.parser(__doc__)
    commandline.add_weights(parser)
    parser.add_argument(
        "--query", required=True, nargs="+", type=Path, help="pictures of people, or folders of them"
    )
    parser.add_argument("--gallery", required=True, type=Path, help="folder, searched with its folders")
    parser.add_argument("--query-modality", default="infrared", help="visible or infrared")
    parser.add_argument("--gallery-modality", default="visible", help="visible or infrared")
    parser.add_argument("--top", type=int, default=10, help="how many pictures to show")
    parser.add_argument("--picture", type=commandline.picture_file, help="also draw what was found there")
    parser.add_argument("--people", choices=("shown", "blurred"), default="shown", help="or hide their heads")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cache", help="folder to keep features in; '' keeps none (default: ~/.cache)")
    args = parser.parse_args()

    def work() -> None:
        from torchreid_vi import FeatureExtractor, InputError
        from torchreid_vi.data.listing import images_of
        from torchreid_vi.report.ranked import Shown, ranked_picture
        from torchreid_vi.retrieval.gallery import Gallery

        if args.top < 1:
            raise InputError(f"--top is {args.top}: it must be at least 1")
        queries = images_of(args.query)
        extractor = FeatureExtractor(args.weights, args.settings)
        for path in queries:
            extractor.image(path)  # a mistake is told before the gallery is embedded
        gallery = Gallery(args.gallery, extractor, args.gallery_modality, args.cache, progress=True)
        answers = gallery.search(queries, args.query_modality, args.top)
        if args.json:
            found = [[{"path": str(path), "similarity": score} for path, score in each] for each in answers]
            pairs = zip(map(str, queries), found, strict=True)
            print(json.dumps([{"query": query, "found": each} for query, each in pairs], indent=1))
        else:
            for query, each in zip(queries, answers, strict=True):
                print(f"{query}: {len(each)} of {len(gallery.paths)}")
                for rank, (path, score) in enumerate(each, 1):
                    print(f"{rank:4}  {score:6.3f}  {path}")
        if args.picture:
            rows = [
                (
                    Shown(extractor.image(query), "query"),
                    [Shown(extractor.image(path), f"{s:.2f}") for path, s in each],
                )
                for query, each in zip(queries, answers, strict=True)
            ]
            commandline.save(ranked_picture(rows, blurred=args.people == "blurred"), args.picture)

    return commandline.status(work, args)


if __name__ == "__main__":
    sys.exit(main())
