"""The cost of the number of training identities: the classifier has a row for each."""

from __future__ import annotations

import statistics
from argparse import Namespace

import torch

from parts.measurement import Measurement, in_turns


def run(args: Namespace) -> list[Measurement]:
    """Measure the classifier's step with its loss, on 128 embeddings of 2,048 dimensions."""
    from torchreid_vi.losses import IdentityLoss

    device = "cuda" if torch.cuda.is_available() else "cpu"
    loss = IdentityLoss()
    embeddings, modality = torch.randn(128, 2048, device=device), torch.zeros(128, device=device)
    rows = []
    for number in (395, 10_000) if args.quick else (395, 10_000, 100_000):
        classifier = torch.nn.Linear(2048, number, bias=False, device=device)
        optimizer = torch.optim.Adam(classifier.parameters())
        pids = torch.randint(number, (128,), device=device)

        def step(classifier=classifier, optimizer=optimizer, pids=pids) -> None:
            optimizer.zero_grad()
            loss(classifier(embeddings), pids, modality).backward()
            optimizer.step()
            if device == "cuda":
                torch.cuda.synchronize()

        (taken,) = in_turns(3 if args.quick else 7, step)
        name = f"classifier of {number:,} identities, 128 images"
        rows.append(Measurement(name, 1000 * statistics.median(taken), "ms"))
        weights = 4 * classifier.weight.numel() / 2**20  # their gradient and Adam's two moments
        rows.append(
            Measurement(f"classifier of {number:,} identities, weights and state", weights * 4, "MiB")
        )
    return rows
