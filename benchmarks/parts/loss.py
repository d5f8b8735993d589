"""The Cross-Modality Retrieval loss beside the product of embeddings that it needs."""

from __future__ import annotations

import statistics
from argparse import Namespace

import torch
from torch.nn import functional as F

from parts.measurement import Measurement, in_turns, ratio


def run(args: Namespace) -> list[Measurement]:
    """Measure forward and backward on 2,048-dimensional embeddings, in batches of 128 and 1,024."""
    from torchreid_vi.losses import CrossModalityRetrievalLoss

    rows = []
    for number in (128, 1024):
        embeddings = torch.randn(number, 2048, requires_grad=True)
        pids, modality = torch.arange(number) // 16, torch.arange(number) % 2
        gradient = torch.randn(number, number)

        def product(embeddings=embeddings, gradient=gradient):
            unit = F.normalize(embeddings, dim=1)
            (unit @ unit.T).backward(gradient)

        losses = [CrossModalityRetrievalLoss(epsilon) for epsilon in (0.5, 1e-4)]
        inputs = embeddings, pids, modality
        bare, paper, small = in_turns(
            (2000 if number == 128 else 300) // (5 if args.quick else 1),
            product,
            lambda losses=losses, inputs=inputs: losses[0](*inputs).backward(),
            lambda losses=losses, inputs=inputs: losses[1](*inputs).backward(),
        )
        of = f"{number} × 2,048"
        rows += [
            Measurement(f"CMR, ε 0.5, {of}, to normalise and product", ratio(paper, bare), "×", most=1.5),
            Measurement(f"CMR, ε 0.5, {of}", 1e3 * statistics.median(paper), "ms"),
            Measurement(f"CMR, ε 0.0001 and so sorted, {of}", 1e3 * statistics.median(small), "ms"),
        ]
    return rows
