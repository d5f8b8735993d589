"""Suggest the similarity from which two images count as the same person.

torchreid-vi threshold vi_synthetic --weights log/mcja_synthetic
torchreid-vi threshold vi_labelled --root people --weights RUN --precision 95

Every infrared test image of a labelled dataset is compared with every visible one, in the split of
the training. Expect this precision and recall among as many people as there.
"""

from __future__ import annotations

import numpy as np

from torchreid_vi.cli import common
from torchreid_vi.data.datasets import dataset_named, require_split
from torchreid_vi.errors import InputError
from torchreid_vi.retrieval import FeatureExtractor
from torchreid_vi.retrieval.threshold import Curve, pairs


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = common.parser(__doc__)
    parser.add_argument("dataset", help="name of a registered visible-infrared dataset")
    parser.add_argument("--root", default="reid-data", help="folder that holds the datasets' folders")
    parser.add_argument("--split", type=int, help="which split, from 1 (default: the one of the training)")
    common.add_weights(parser)
    common.add_modality(parser, "the queries", "infrared")
    common.add_modality(parser, "the gallery", "visible", "--gallery-modality")
    parser.add_argument("--precision", type=float, help="to reach, in percent (default: the highest F1)")
    args = parser.parse_args(arguments)

    def work() -> None:
        if args.precision is not None and not 0 < args.precision <= 100:
            raise InputError(f"--precision is {args.precision:g}: it must be above 0 and at most 100")
        extractor = FeatureExtractor(args.weights, args.settings)
        split = extractor.cfg.data.split_id if args.split is None else args.split - 1
        require_split([args.dataset], split)
        # As in training, which did not see the test people.
        own = dict(extractor.cfg.vi_labelled) if args.dataset == "vi_labelled" else {}
        dataset = dataset_named(args.dataset)(root=args.root, split_id=split, verbose=False, **own)
        similarity, same = pairs(dataset, extractor, args.modality, args.gallery_modality)
        curve = Curve(similarity, same)
        print(f"{'threshold':>9}  {'precision':>9}  {'recall':>7}  {'pairs':>9}")
        for step in range(int(np.floor(20 * similarity.min())), int(np.ceil(20 * similarity.max())) + 1):
            point = curve.at(step / 20)
            print(f"{point.threshold:9.2f}  {point.precision:9.1%}  {point.recall:7.1%}  {point.accepted:9,}")
        best = curve.best(args.precision and args.precision / 100)
        best = curve.at(np.ceil(1000 * best.threshold) / 1000)  # as it is printed
        why = "highest F1" if args.precision is None else f"precision of at least {args.precision:g}%"
        print(
            f"suggested: {best.threshold:.3f}, precision {best.precision:.1%}, recall {best.recall:.1%};\n"
            f"{why} of {same.size:,} pairs, of which {same.sum():,} show one person"
        )

    return common.status(work, args)
