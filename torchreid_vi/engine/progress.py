"""Where in a run its training is: repeatable steps, and how to go on within an epoch."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from torchreid_vi import console, distributed, stopping
from torchreid_vi.data.loader import TrainLoader


def seed_everything(seed: int, epoch: int = 0, step: int = 0) -> None:
    """Seed the generators of Python, NumPy and PyTorch for one step of a run.

    Args:
        seed: Seed of the run.
        epoch: Epoch, from 0.
        step: Step of the epoch, from 0.
    """
    state = int(np.random.SeedSequence([seed, epoch, step]).generate_state(1)[0])
    random.seed(state)
    np.random.seed(state)
    torch.manual_seed(state)
    if distributed.rank():  # what is drawn on the CPU is for all processes; each GPU drops what it will
        torch.cuda.manual_seed(state + distributed.rank())


class Progress:
    """A loader that moves one bar over all epochs as its batches are taken, counts, and lets signals in.

    Attributes:
        images: number of images that were trained on.
        done: number of batches of this epoch that were, those before a break too.
        skipped: of these, those before the break.
        waiting: whether nothing is under way but the loading of a batch, and some are done since the break.
        batch: the one that is under way, or was last.
    """

    def __init__(self, loader: TrainLoader, seed: int, epochs: int) -> None:
        self.loader, self.seed, self.epochs, self.images = loader, seed, epochs, 0
        self.waiting = False
        self.batch: Any = None
        self.begin(0, 0)
        self.bar = console.progress(
            what="training", unit="batch", total=max(epochs, 0) * len(loader), shown=epochs > 0
        )

    def __len__(self) -> int:
        return len(self.loader)

    def begin(self, epoch: int, step: int) -> None:
        """Begin the next iteration at that step of that epoch."""
        self.epoch, self.done, self.skipped = epoch, step, step

    def __iter__(self) -> Iterator[Any]:
        self.bar.update(self.skipped)
        seed_everything(self.seed, self.epoch)
        self.loader.set_epoch(self.epoch, self.skipped)
        batches = iter(self.loader)
        while (batch := self._next(batches)) is not None:
            self.batch = batch
            seed_everything(self.seed, self.epoch, self.done)
            yield batch
            self.images += len(batch["pid"]) * distributed.size()
            self.done += 1
            self.bar.update()
        self.epochs -= 1
        # Some samplers promise more batches than they draw.
        self.bar.total = self.bar.n + self.epochs * self.done

    def _next(self, batches: Iterator[Any]) -> Any:
        """The next batch, or nothing at the end of the epoch."""
        self.waiting = self.done > self.skipped
        with stopping.allowed():
            batch = next(batches, None)
        self.waiting = False
        return batch

    def close(self) -> None:
        self.bar.close()
