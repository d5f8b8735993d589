"""Finds a person of one picture among the pictures of a folder.

torchreid-vi search --weights log/mcja_synthetic --query night.jpg --gallery photos/
torchreid-vi search --weights RUN --query a.jpg b.jpg --gallery photos/ --picture found.png
torchreid-vi search --weights RUN --query night/ --gallery photos/

The gallery is embedded when it is first searched; later only pictures that are new or have changed
are.
"""

from __future__ import annotations

import json
from pathlib import Path

from torchreid_vi.cli import common


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = common.parser(__doc__)
    common.add_weights(parser)
    parser.add_argument(
        "--query", required=True, nargs="+", type=Path, help="pictures of people, or folders of them"
    )
    parser.add_argument("--gallery", required=True, type=Path, help="folder, searched with its folders")
    common.add_modality(parser, "the queries", "infrared")
    common.add_modality(parser, "the gallery", "visible", "--gallery-modality")
    parser.add_argument("--top", type=int, default=10, help="how many pictures to show")
    parser.add_argument("--picture", type=common.picture_file, help="also draw what was found there")
    parser.add_argument("--people", choices=("shown", "blurred"), default="shown", help="or hide their heads")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cache", help="folder to keep features in; '' keeps none (default: ~/.cache)")
    args = parser.parse_args(arguments)

    def work() -> None:
        from torchreid_vi.data.listing import images_of
        from torchreid_vi.errors import InputError
        from torchreid_vi.report.ranked import Shown, ranked_picture
        from torchreid_vi.retrieval import FeatureExtractor
        from torchreid_vi.retrieval.gallery import Gallery

        if args.top < 1:
            raise InputError(f"--top is {args.top}: it must be at least 1")
        queries = images_of(args.query)
        extractor = FeatureExtractor(args.weights, args.settings)
        for path in queries:
            extractor.image(path)  # a mistake is told before the gallery is embedded
        gallery = Gallery(args.gallery, extractor, args.gallery_modality, args.cache, progress=True)
        answers = gallery.search(queries, args.modality, args.top)
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
            common.save(ranked_picture(rows, blurred=args.people == "blurred"), args.picture)

    return common.status(work, args)
