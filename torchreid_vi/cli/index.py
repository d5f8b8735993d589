"""Builds an index of a gallery's features, adds to it, removes from it, and searches it.

torchreid-vi index build --weights log/mcja_synthetic --gallery photos/ --out photos.index
torchreid-vi index add --index photos.index --gallery more/ --out both.index
torchreid-vi index remove --index both.index --images photos/cam1 --out fewer.index
torchreid-vi index search --index photos.index --modality infrared --query seen_at_night.jpg
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from torchreid_vi.cli import common

log = logging.getLogger(__name__)

_OTHER_WEIGHTS = "those of the index, if they moved or are remote"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = common.parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    helps = {
        "build": "embed a folder of images and index them",
        "add": "write an index with the images of one more folder",
        "remove": "write an index without some of its images",
        "search": "find the images most like some others",
    }
    made = {
        name: commands.add_parser(name, help=text, formatter_class=common.Help)
        for name, text in helps.items()
    }
    build, add, remove, search = made.values()
    common.add_weights(build)
    build.add_argument(
        "--factory",
        default="Flat",
        help="FAISS's string for the kind of index: Flat (exact), HNSW32 (fast), IVF256,PQ64 (small), …",
    )
    common.add_modality(build, "the gallery", "visible")
    add.add_argument("--modality", help="of the gallery: visible or infrared (default: that of the index)")
    common.add_modality(search, "the queries", "infrared")
    for command in (add, remove, search):
        command.add_argument("--index", required=True, type=Path, help="folder that build wrote")
    for command in (add, search):
        common.add_weights(command, required=False, what=_OTHER_WEIGHTS)
    for command in (build, add):
        command.add_argument("--gallery", required=True, type=Path, help="images, searched with its folders")
    remove.add_argument("--images", required=True, nargs="+", type=Path, help="images, or folders of them")
    for command in (build, add, remove):
        command.add_argument("--out", required=True, type=Path, help="folder of the new index")
    search.add_argument(
        "--query", required=True, nargs="+", type=Path, help="images of people, or folders of them"
    )
    search.add_argument("--top", type=int, default=10, help="how many images to show")
    search.add_argument("--json", action="store_true", help="print JSON")
    for command in made.values():
        common.add_common(command)
    return parser.parse_args(arguments)


def build(args: argparse.Namespace) -> None:
    """Embed a gallery and write its index."""
    from torchreid_vi.data.listing import images_under
    from torchreid_vi.extras import require
    from torchreid_vi.retrieval import FeatureExtractor
    from torchreid_vi.retrieval.gallery import Gallery
    from torchreid_vi.retrieval.index import EmbeddingIndex, require_free
    from torchreid_vi.retrieval.kinds import check
    from torchreid_vi.sharing import is_remote

    require("search", "an index")
    require_free(args.out)
    extractor = FeatureExtractor(args.weights, args.settings)
    check(args.factory, extractor([]).shape[1], len(images_under(args.gallery)))
    gallery = Gallery(args.gallery, extractor, args.modality, cache="", progress=True)
    features = gallery.features
    items = [{"path": str(path.absolute())} for path in gallery.paths]
    index = EmbeddingIndex.build(
        features,
        items,
        args.factory,
        modality=args.modality,
        weights=args.weights if is_remote(args.weights) else str(Path(args.weights).absolute()),
        settings=str(Path(args.settings).absolute()) if args.settings else "",
        weights_sha256=extractor.weights_sha256,
        extractor=extractor.fingerprint,
    )
    index.save(args.out)
    size = sum(file.stat().st_size for file in args.out.iterdir()) / 2**20
    print(
        f"{len(items)} images of {features.shape[1]} dimensions, {args.factory}, {size:.1f} MiB, recall@10 "
        f"{100 * index.about['recall_at_10']:.1f}% of exact search for some of its own"
    )
    log.info(f"Written: {args.out}")


def add(args: argparse.Namespace) -> None:
    """Write an index with the images of another one and those of a folder that it lacks."""
    from torchreid_vi.data.listing import images_under
    from torchreid_vi.extras import require
    from torchreid_vi.retrieval.index import EmbeddingIndex, require_free

    require("search", "an index")
    require_free(args.out)
    index = EmbeddingIndex.load(args.index)
    known = {item["path"] for item in index.items if item}
    paths = [path for path in images_under(args.gallery) if str(path.absolute()) not in known]
    extractor = _extractor(args, index)
    modality = args.modality or index.about.get("modality", "visible")
    features, readable = extractor.files(paths, modality, progress=True)
    index.add(features, [{"path": str(paths[number].absolute())} for number in readable])
    index.save(args.out)
    print(f"Added {len(readable)} images; the index now has {len(index)}")
    log.info(f"Written: {args.out}")


def remove(args: argparse.Namespace) -> None:
    """Write an index with the images of another one but some."""
    from torchreid_vi.extras import require
    from torchreid_vi.retrieval.index import EmbeddingIndex, require_free

    require("search", "an index")
    require_free(args.out)
    index = EmbeddingIndex.load(args.index)
    number = index.remove(path.absolute() for path in args.images)
    index.save(args.out)
    print(f"Removed {number} images; the index now has {len(index)}")
    log.info(f"Written: {args.out}")


def search(args: argparse.Namespace) -> None:
    """Print the most similar images of an index."""
    from torchreid_vi.data.listing import images_of
    from torchreid_vi.errors import InputError
    from torchreid_vi.extras import require
    from torchreid_vi.retrieval.index import EmbeddingIndex

    require("search", "an index")
    if args.top < 1:
        raise InputError(f"--top is {args.top}: it must be at least 1")
    index = EmbeddingIndex.load(args.index)
    extractor = _extractor(args, index)
    queries = images_of(args.query)
    found = index.search(extractor(queries, args.modality), args.top)
    if args.json:
        answers = [[{"similarity": score} | item for score, item in each] for each in found]
        pairs = zip(queries, answers, strict=True)
        print(json.dumps([{"query": str(query), "found": each} for query, each in pairs], indent=1))
        return
    for query, each in zip(queries, found, strict=True):
        print(query)
        for rank, (score, item) in enumerate(each, 1):
            print(f"{rank:4}  {score:6.3f}  {item['path']}")


def _extractor(args: argparse.Namespace, index: Any) -> Any:
    """Return the extractor that embeds images as those of an index were."""
    from torchreid_vi.errors import InputError
    from torchreid_vi.retrieval import FeatureExtractor
    from torchreid_vi.sharing import is_remote

    about = {"weights": "", "settings": "", "weights_sha256": "", "extractor": ""} | index.about
    if not (args.weights or about["weights"]):
        raise InputError(
            f"{args.index} does not say what weights it was built with: name them with --weights"
        )
    if not args.weights and is_remote(about["weights"]):
        raise InputError(
            f"{args.index} was built with {about['weights'][:200]!r}, which nobody asked to fetch: name them with "
            "--weights"
        )
    weights = args.weights or about["weights"]
    # Whoever made the index named these files, unless the user did: settings of others import nothing.
    trusted = bool(args.settings or (args.weights and not about["settings"]))
    extractor = FeatureExtractor(weights, args.settings or about["settings"], imports=trusted)
    if about["weights_sha256"] and extractor.weights_sha256 != about["weights_sha256"]:
        raise InputError(f"{weights} are not the weights that {args.index} was built with: build it again")
    if about["extractor"] and extractor.fingerprint != about["extractor"]:
        raise InputError(
            f"{args.index} was built with other settings of the model or its images: build it again"
        )
    return extractor


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    args = parse(arguments)
    command = {"build": build, "add": add, "remove": remove, "search": search}[args.command]
    return common.status(lambda: command(args), args)
