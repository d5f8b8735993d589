"""A step of MMGL's pre-training and one of supervised Base beside that of the bare backbone."""

from __future__ import annotations

import statistics
from argparse import Namespace
from collections.abc import Callable

import torch

from benchmarks.figures import Figure, in_turns, ratio


def run(args: Namespace) -> list[Figure]:
    """Every step is forward, losses, backward and optimiser on the same random images; the steps take turns."""
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

    half = torch.autocast(device.type, torch.bfloat16, enabled=args.precision == "bf16")

    def step(model: torch.nn.Module, loss: Callable[[], torch.Tensor]) -> Callable[[], None]:
        optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9)

        def one() -> None:
            with half:
                value = loss()
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            if device.type == "cuda":
                torch.cuda.synchronize()

        return one

    losses = {"bare backbone": (bare, bare_loss), "Base": (base, base_loss), "MMGL": (pretext, mmgl_loss)}
    for _, loss in losses.values():
        loss()  # memory is at hand
    seconds = in_turns(3 if args.quick else 15, *(step(*each) for each in losses.values()))
    figures = []
    for name, taken in zip(losses, seconds, strict=True):
        with half:
            kept = _kept_for_backward(losses[name][1])
        figures += [
            Figure(f"{name}, step", statistics.median(taken), "s"),
            Figure(f"{name}, to the bare backbone", ratio(taken, seconds[0]), "×"),
            Figure(f"{name}, kept for the backward pass", kept, "MiB"),
        ]
    return figures


def _kept_for_backward(loss: Callable[[], torch.Tensor]) -> float:
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
