"""Find the person of a picture among the pictures of a folder.

torchreid-vi search --weights log/mcja_synthetic --query night.jpg --gallery photos/
torchreid-vi search --weights RUN --query a.jpg b.jpg --gallery photos/ --picture found.png
torchreid-vi search --weights RUN --query night/ --gallery photos/

The gallery is embedded when it is first searched; later only pictures that are new or have changed
are. A query's own file is passed over.
"""

from __future__ import annotations

from pathlib import Path

from torchreid_vi.cli import common
from torchreid_vi.data.listing import images_of
from torchreid_vi.report.ranked import Shown, ranked_picture
from torchreid_vi.retrieval import FeatureExtractor, Gallery

_SIZE = (96, 240)  # width and height of an image on the picture, in pixels


def _shown(extractor: FeatureExtractor, path: Path, word: str) -> Shown:
    """Return an image with a word and its file's folder and name under it."""
    return Shown(extractor.image(path), f"{word}\n{'/'.join(path.parts[-2:])}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = common.parser(__doc__)
    common.add_weights(parser)
    parser.add_argument("--gallery", required=True, type=Path, help="folder, searched with its folders")
    common.add_search(parser)
    common.add_modality(parser, "the gallery", "visible", "--gallery-modality")
    parser.add_argument("--picture", type=common.picture_file, help="also draw what was found there")
    parser.add_argument("--people", choices=("shown", "blurred"), default="shown", help="or hide their heads")
    parser.add_argument("--cache", help="folder to keep features in; '' keeps none (default: ~/.cache)")
    args = parser.parse_args(arguments)

    def work() -> None:
        queries = images_of(args.query)
        extractor = FeatureExtractor(args.weights, args.settings)
        for path in queries:
            extractor.image(path)  # one that cannot be read is reported before the gallery is embedded
        gallery = Gallery(args.gallery, extractor, args.gallery_modality, args.cache)
        found = [
            [hit for hit in each if not hit.path.samefile(query)][: args.top]
            for query, each in zip(queries, gallery.search(queries, args.modality, args.top + 1), strict=True)
        ]
        shown = [[{"path": str(path), "similarity": score} for path, score in each] for each in found]
        common.print_found(queries, shown, len(gallery.paths), args.json)
        if args.picture:
            rows = []
            for query, each in zip(queries, found, strict=True):
                answers = [_shown(extractor, path, f"{score:.2f}") for path, score in each]
                rows.append((_shown(extractor, query, "query"), answers))
            common.save(ranked_picture(rows, _SIZE, args.people == "blurred"), args.picture)

    return common.status(work, args)
