"""Writes a trained model as ONNX or as a program of torch.export, for either modality.

python tools/export.py --weights log/mcja_synthetic/checkpoints/last.pth --out exported
python tools/export.py --weights RUN/checkpoints/last.pth --out exported --format torch

What is written is run on batches of several sizes and compared with PyTorch before it is there.
"""

from __future__ import annotations

import argparse
import sys


def main() -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--weights", required=True, help="a run's checkpoints/last.pth; a package, https:// or hf:// of one"
    )
    parser.add_argument(
        "--settings", default="", help="the run's config.yaml, if it is not beside the weights"
    )
    parser.add_argument("--out", required=True, help="folder to write to")
    parser.add_argument("--format", default="onnx", help="onnx or torch")
    args = parser.parse_args()
    from torchreid_vi import FeatureExtractor, InputError
    from torchreid_vi.export import export

    try:
        extractor = FeatureExtractor(args.weights, args.settings, device="cpu")
        for path, difference in export(extractor, args.out, args.format):
            size = path.stat().st_size / 2**20
            print(f"=> Written: {path}, {size:.1f} MiB, within {difference:.1g} of PyTorch's features")
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
