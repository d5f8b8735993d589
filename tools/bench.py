"""What a training step and re-ranking cost, on the machine at hand.

python tools/bench.py mmgl
python tools/bench.py rerank
python tools/bench.py mmgl --backbone resnet50 --size 288 144 --precision bf16 --out bench.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch


def kept_for_backward(loss: Callable[[], torch.Tensor]) -> float:
    """MiB of all tensors that a forward pass keeps, each storage counted once."""
    sizes: dict[int, int] = {}
    kept = []  # alive until counted, so that no address comes twice

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss()
    return sum(sizes.values()) / 2**20


def mmgl(args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """A step of MMGL and one of supervised Base beside that of the bare backbone.

    Every step is forward, losses, backward and optimiser on the same random images; the steps take turns,
    and the first rounds are not counted.
    """
    from torchreid_vi.data.stripes import paired_orders, shuffle_stripes
    from torchreid_vi.losses import (
        HardTripletLoss,
        IdentityLoss,
        PartCycleContrastLoss,
        PermutationRecoveryLoss,
        stripe_accuracy,
    )
    from torchreid_vi.models import Backbone, MMGLModel, VIModel

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    height, width = args.size
    images = torch.randn(args.batch_size, 3, height, width, device=device)
    modality = torch.arange(args.batch_size, device=device) % 2
    pids = torch.arange(args.batch_size, device=device) // 8
    shape = {"streams": args.streams, "last_stride": 1}
    bare = Backbone(args.backbone, **shape).to(device)
    pretext = MMGLModel(args.backbone, height, width, **shape).to(device)
    base = VIModel(args.backbone, 395, pooling="avg", **shape).to(device)
    permutation, cycle = PermutationRecoveryLoss(), PartCycleContrastLoss()
    identity, triplet = IdentityLoss(), HardTripletLoss()

    def bare_loss() -> torch.Tensor:
        return bare(images, modality).float().mean()

    def mmgl_loss() -> torch.Tensor:
        orders = paired_orders(modality, pretext.stripes)
        scores, parts = pretext(shuffle_stripes(images, orders), modality)
        with torch.no_grad():  # the engine's log
            stripe_accuracy(permutation.recover(scores.float()), orders)
        return permutation(scores, orders) + 0.5 * cycle(parts, modality)

    def base_loss() -> torch.Tensor:
        pooled, _, logits = base(images, modality)
        return identity(logits, pids, modality) + triplet(pooled, pids, modality)

    steps: dict[str, tuple[torch.nn.Module, Callable[[], torch.Tensor]]] = {
        "bare backbone": (bare, bare_loss),
        "Base": (base, base_loss),
        "MMGL": (pretext, mmgl_loss),
    }
    optimizers = {name: torch.optim.SGD(m.parameters(), 1e-3, momentum=0.9) for name, (m, _) in steps.items()}
    times: dict[str, list[float]] = {name: [] for name in steps}
    half = torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bf16")
    for turn in range(args.rounds + 3):
        for name, (_, loss) in steps.items():
            if device.type == "cuda":
                torch.cuda.synchronize()
            start = time.perf_counter()
            with half:
                value = loss()
            optimizers[name].zero_grad()
            value.backward()
            optimizers[name].step()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn >= 3:
                times[name].append(time.perf_counter() - start)
    table = {}
    for name, seconds in times.items():
        # The ratio of neighbours in time, so that a machine that slows down slows both.
        ratio = statistics.median(a / b for a, b in zip(seconds, times["bare backbone"], strict=True))
        middle = statistics.median(seconds)
        with half:
            kept = kept_for_backward(steps[name][1])
        table[name] = {
            "step_s": middle,
            "images_per_s": args.batch_size / middle,
            "to_bare": ratio,
            "kept_mib": kept,
        }
    return table


def rerank(args: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Re-ranking of one trial of SYSU-MM01, 3,803 queries against 301 images, of features in 96 clusters.

    The peak is of the whole process, after each.
    """
    import resource

    import numpy as np

    from torchreid_vi.evaluation import Reranking

    rng = np.random.default_rng(0)
    centres = rng.normal(size=(96, 2048))

    def features(number: int) -> np.ndarray:
        drawn = centres[rng.integers(0, 96, number)] + rng.normal(size=(number, 2048))
        return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)

    query, *versions = map(features, (3803, 301, 301, 301, 301))
    table = {}
    for how, gallery in (
        (Reranking("k-reciprocal", 20, 6, 0.3), versions[:1]),
        (Reranking("MSER", 40, 20, 0.3, expand=False, among_queries=True, spectra=True), versions),
    ):
        start = time.perf_counter()
        how([query], gallery)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        table[how.name] = {"seconds": seconds, "peak_mib": peak}
    return table


PARTS = {"mmgl": mmgl, "rerank": rerank}


def main() -> int:
    """Runs the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--backbone", default="resnet18", help="torchreid's name of it")
    parser.add_argument("--size", type=int, nargs=2, default=(96, 48), metavar=("H", "W"), help="in pixels")
    parser.add_argument("--batch-size", type=int, default=64, help="images")
    parser.add_argument("--streams", type=int, default=2, help="1 or 2")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--rounds", type=int, default=15, help="counted steps of each")
    parser.add_argument("--out", type=Path, help="also write the figures there, as JSON")
    args = parser.parse_args()
    from torchreid_vi import InputError

    try:
        table = PARTS[args.part](args)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    keys = list(next(iter(table.values())))
    print(f"{'':16}" + "".join(f"{key:>14}" for key in keys))
    for name, row in table.items():
        print(f"{name:16}" + "".join(f"{row[key]:14.3f}" for key in keys))
    if args.out:
        args.out.write_text(json.dumps(table, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
