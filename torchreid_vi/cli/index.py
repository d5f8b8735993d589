"""Build an index of a gallery's features, add to it, remove from it, and search it.

torchreid-vi index build --weights log/mcja_synthetic --gallery photos/ --out photos.index
torchreid-vi index add --index photos.index --gallery more/ --out both.index
torchreid-vi index remove --index both.index --images photos/cam1 --out fewer.index
torchreid-vi index search --index photos.index --modality infrared --query seen_at_night.jpg
"""

from __future__ import annotations

import argparse
from pathlib import Path

from torchreid_vi.cli import common
from torchreid_vi.data.listing import images_of, images_under
from torchreid_vi.errors import InputError
from torchreid_vi.extras import require
from torchreid_vi.retrieval import FeatureExtractor, Gallery
from torchreid_vi.retrieval.index import EmbeddingIndex, empty_vectors, require_free
from torchreid_vi.sharing import is_remote

_HELP = {
    "build": "embed a folder of images and index them",
    "add": "write an index with the images of one more folder",
    "remove": "write an index without some of its images",
    "search": "find the images most like some others",
}


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = common.parser(__doc__)
    made = parser.add_subparsers(dest="command", required=True)
    commands = [made.add_parser(name, help=_HELP[name], formatter_class=common.Help) for name in _HELP]
    build, add, remove, search = commands
    common.add_weights(build)
    build.add_argument(
        "--factory",
        default="Flat",
        help="FAISS's string for the kind of index: Flat (exact), HNSW32 (fast), IVF256,PQ64 (small), …",
    )
    common.add_modality(build, "the gallery", "visible")
    add.add_argument("--modality", help="of the gallery: visible or infrared (default: that of the index)")
    for command in (add, remove, search):
        command.add_argument("--index", required=True, type=Path, help="folder that build wrote")
    for command in (add, search):
        common.add_weights(command, required=False, what="those of the index, if they moved or are remote")
    for command in (build, add):
        command.add_argument("--gallery", required=True, type=Path, help="images, searched with its folders")
    remove.add_argument("--images", required=True, nargs="+", type=Path, help="images, or folders of them")
    for command in (build, add, remove):
        command.add_argument("--out", required=True, type=Path, help="folder of the new index")
    common.add_search(search)
    for command in commands:
        common.add_common(command)
    return parser.parse_args(arguments)


def write(args: argparse.Namespace) -> None:
    """Write a new index."""
    require_free(args.out)
    if args.command == "build":
        index = _build(args)
        said = (
            f"{len(index)} images of {index.about['dimensions']} dimensions, {args.factory}, "
            f"recall@10 {index.about['recall_at_10']:.1%} of exact search for some of its own"
        )
    else:
        index = EmbeddingIndex.load(args.index)
        if args.command == "remove":
            number = index.remove(path.absolute() for path in args.images)
            said = f"Removed {number} images; the index now has {len(index)}"
        else:
            known = {item["path"] for item in index.items if item}
            paths = [path for path in images_under(args.gallery) if str(path.absolute()) not in known]
            modality = args.modality or index.about.get("modality", "visible")
            features, readable = _extractor(args, index).files(paths, modality)
            index.add(features, [{"path": str(paths[number].absolute())} for number in readable])
            said = f"Added {len(readable)} images; the index now has {len(index)}"
    index.save(args.out)
    print(said)
    size = sum(file.stat().st_size for file in args.out.iterdir()) / 2**20
    common.written(args.out, f"{size:.1f} MiB")


def _build(args: argparse.Namespace) -> EmbeddingIndex:
    """Embed a gallery and return its index."""
    extractor = FeatureExtractor(args.weights, args.settings)
    empty_vectors(args.factory, extractor([]).shape[1], len(images_under(args.gallery)))
    gallery = Gallery(args.gallery, extractor, args.modality, cache="")
    return EmbeddingIndex.build(
        gallery.features,
        [{"path": str(path.absolute())} for path in gallery.paths],
        args.factory,
        modality=args.modality,
        weights=args.weights if is_remote(args.weights) else str(Path(args.weights).absolute()),
        settings=str(Path(args.settings).absolute()) if args.settings else "",
        extractor=extractor.fingerprint,
    )


def search(args: argparse.Namespace) -> None:
    """Print the most similar images of an index."""
    index, queries = EmbeddingIndex.load(args.index), images_of(args.query)
    found = index.search(_extractor(args, index)(queries, args.modality), args.top)
    shown = [[{"similarity": score} | item for score, item in each] for each in found]
    common.print_found(queries, shown, len(index), args.json)


def _extractor(args: argparse.Namespace, index: EmbeddingIndex) -> FeatureExtractor:
    """Return the extractor that embeds images as those of an index were."""
    weights, settings, mark = (
        str(index.about.get(name, "")) for name in ("weights", "settings", "extractor")
    )
    if not args.weights and (not weights or is_remote(weights)):
        raise InputError(
            f"{args.index} was built with {weights[:200] or 'unknown weights'}, which are not fetched unasked: "
            "name them with --weights"
        )
    # The author of the index named these files, unless the user did: settings of others import nothing.
    trusted = bool(args.settings or (args.weights and not settings))
    extractor = FeatureExtractor(args.weights or weights, args.settings or settings, imports=trusted)
    if mark and extractor.fingerprint != mark:
        raise InputError(f"{args.index} was built with other weights or settings: build it again")
    return extractor


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    args = parse(arguments)

    def work() -> None:
        require("search", "an index")
        search(args) if args.command == "search" else write(args)

    return common.status(work, args)
