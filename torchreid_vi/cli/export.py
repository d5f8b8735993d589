"""Write a trained model as ONNX or as a program of torch.export, for either modality.

torchreid-vi export --weights log/mcja_synthetic --out exported
torchreid-vi export --weights RUN --out exported --format torch

Each file is run on batches of several sizes and compared with PyTorch before it is there.
"""

from __future__ import annotations

from torchreid_vi.cli import common
from torchreid_vi.retrieval import FeatureExtractor
from torchreid_vi.retrieval.export import check, export


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    parser = common.parser(__doc__)
    common.add_weights(parser)
    parser.add_argument("--out", required=True, help="folder to write to")
    parser.add_argument("--format", default="onnx", help="onnx or torch")
    parser.add_argument("--opset", type=int, default=18, help="version of ONNX's operators")
    args = parser.parse_args(arguments)

    def work() -> None:
        check(args.format)
        extractor = FeatureExtractor(args.weights, args.settings, device="cpu")
        for path, difference in export(extractor, args.out, args.format, args.opset).items():
            size = path.stat().st_size / 2**20
            common.written(path, f"{size:.1f} MiB, within {difference:.1g} of PyTorch's features")

    return common.status(work, args)
