"""DEEN as a method, with its two transforms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from torchreid_vi.data.changes import Change, Sampler, Settings, half, mixed
from torchreid_vi.data.transforms import erase, register_transform
from torchreid_vi.errors import unknown_name
from torchreid_vi.losses import register_loss
from torchreid_vi.methods.deen.losses import OrthogonalityLoss, PairMiningLoss
from torchreid_vi.methods.deen.network import COPIES, STAGES, DEENModel
from torchreid_vi.methods.method import (
    Batch,
    Method,
    NetworkSettings,
    Values,
    WeightedLosses,
    gathered,
    register_method,
)
from torchreid_vi.methods.supervised import Supervised, accuracy, network_arguments


class DEENOutput(NamedTuple):
    """The output of a training step.

    Attributes:
        pooled: Features before the neck (3B, D), the three copies of an image one after the other.
        embedding: Features after the neck (3B, D).
        logits: Identity scores (3B, number of identities).
        copies: Features before the neck (B, 3·D), the three copies in a row.
    """

    pooled: Tensor
    embedding: Tensor
    logits: Tensor
    copies: Tensor


class DEEN(Supervised):
    """Trains a :class:`DEENModel`; every loss but those on ``copies`` sees three copies of each image.

    Args:
        settings: Settings of the network.
        losses: Losses by name, each with its weight.
        expand_after: ``layer3`` or ``layer2``; see :class:`DEENModel`.
    """

    def __init__(
        self, settings: NetworkSettings, losses: WeightedLosses, expand_after: str = "layer3"
    ) -> None:
        if expand_after not in (known := STAGES[1:3]):
            raise unknown_name("value of loss.deen.expand_after", expand_after, known)
        network = DEENModel(**network_arguments(settings), expand_after=expand_after)
        Method.__init__(self, network, losses, DEENOutput._fields)

    def training_step(self, batch: Batch) -> tuple[Values, Values]:
        copies, pids, modality = gathered(self.predict(batch), batch.pids, batch.modality)
        flat = (output.flatten(0, 1) for output in copies)
        outputs = DEENOutput(*flat, copies.pooled.flatten(1))  # type: ignore[call-arg]
        every = pids.repeat_interleave(COPIES), modality.repeat_interleave(COPIES)
        losses = self.loss_values(outputs, lambda field: (pids, modality) if field == "copies" else every)
        return losses, {"acc": accuracy(outputs.logits, every[0])}


def random_grey(settings: Settings) -> Sampler:
    """Turn images grey with probability one half."""
    weights = torch.tensor([0.299, 0.587, 0.114, 0.0])

    def sample(number: int, generator: Generator) -> Iterator[Change]:
        rows = half(number, generator)
        yield Change(mixed, rows, weights.expand(len(rows), 4))

    return sample


register_method("deen", DEEN)
register_loss("cpm", PairMiningLoss)
register_loss("orthogonality", OrthogonalityLoss)
register_transform("random_grey", random_grey, batched=True)
# DEEN's erasing on SYSU-MM01: torchreid's, of larger boxes.
register_transform("deen_erase", lambda s: erase(s, s.norm_mean, 0.2, 0.8), on_tensor=True, batched=True)
