"""Writes a trained model as ONNX or as a program of torch.export, for either modality.

python tools/export.py --weights log/mcja_synthetic/checkpoints/last.pth --out exported
python tools/export.py --weights RUN/checkpoints/last.pth --out exported --format torch

What is written is run on batches of several sizes and compared with PyTorch before it is there.
"""

from __future__ import annotations

import sys

import commandline


def main() -> int:
    """Runs the command line; returns the exit status."""
    parser = commandline.parser(__doc__)
    commandline.add_weights(parser)
    parser.add_argument("--out", required=True, help="folder to write to")
    parser.add_argument("--format", default="onnx", help="onnx or torch")
    parser.add_argument("--opset", type=int, default=18, help="version of ONNX's operators (default: 18)")
    args = parser.parse_args()

    def work() -> None:
        from torchreid_vi import FeatureExtractor, console
        from torchreid_vi.retrieval.export import check, export

        check(args.format)
        extractor = FeatureExtractor(args.weights, args.settings, device="cpu")
        for path, difference in export(extractor, args.out, args.format, args.opset):
            size = path.stat().st_size / 2**20
            console.say(f"Written: {path}, {size:.1f} MiB, within {difference:.1g} of PyTorch's features")

    return commandline.status(work, args)


if __name__ == "__main__":
    sys.exit(main())
