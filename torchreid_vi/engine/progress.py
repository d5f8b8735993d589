"""Where in a run its training is: repeatable epochs, and how to go on within one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader

from torchreid_vi import console, distributed, stopping


def seed_everything(seed: int, epoch: int) -> None:
    """Seeds Python's, NumPy's and PyTorch's generators from a run's seed and an epoch's number."""
    state = int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0])
    random.seed(state)
    np.random.seed(state)
    torch.manual_seed(state)
    if distributed.rank():  # what is drawn on the CPU is for all processes; each GPU drops what it will
        torch.cuda.manual_seed(state + distributed.rank())


class Behind(NamedTuple):
    """Where in an epoch a run goes on: after how many batches, and with which states of the generators."""

    step: int
    generators: dict[str, Any]

    @classmethod
    def now(cls, step: int) -> Behind:
        """After so many batches, with the states that the generators are in."""
        numpy = np.random.get_state(legacy=False)
        states = {
            "python": random.getstate(),
            "numpy": numpy | {"state": numpy["state"] | {"key": numpy["state"]["key"].tolist()}},
            "torch": torch.get_rng_state(),
        }
        if torch.cuda.is_initialized():
            states["cuda"] = torch.cuda.get_rng_state()
        return cls(step, states)

    def restore(self) -> None:
        """Puts the generators into these states."""
        random.setstate(self.generators["python"])
        np.random.set_state(self.generators["numpy"])
        torch.set_rng_state(self.generators["torch"])
        if "cuda" in self.generators and torch.cuda.is_initialized():
            torch.cuda.set_rng_state(self.generators["cuda"])


class Progress:
    """A loader that moves one bar over all epochs as its batches are taken, counts, and lets signals in.

    Attributes:
        images: number of images that were trained on.
        done: number of batches of this epoch that were, those before a break too.
        skipped: of these, those before the break.
        behind: where to go on, while nothing is under way but the loading of a batch and some are done.
        batch: the one that is under way, or was last.
    """

    def __init__(self, loader: DataLoader, epochs: int) -> None:
        self.loader, self.epochs, self.images = loader, epochs, 0
        self.done = self.skipped = 0
        self.behind: Behind | None = None
        self.batch: Any = None
        self.begin(Behind(0, {}))
        self.bar = console.progress(
            what="training", unit="batch", total=max(epochs, 0) * len(loader), shown=epochs > 0
        )

    def __len__(self) -> int:
        return len(self.loader)

    def begin(self, behind: Behind) -> None:
        """Has the next iteration go on after what is behind it."""
        self.start, self.done, self.skipped = behind, behind.step, behind.step

    def __iter__(self) -> Iterator[Any]:
        if self.skipped:
            self.loader.sampler.skip = self.skipped  # type: ignore[attr-defined]
            self.bar.update(self.skipped)
        batches = iter(self.loader)
        while (batch := self._next(batches)) is not None:
            self.batch = batch
            if self.start.step:
                self.start.restore()
            self.start = Behind(0, {})
            yield batch
            self.images += len(batch["pid"]) * distributed.size()
            self.done += 1
            self.bar.update()
        self.epochs -= 1
        # Some samplers promise more batches than they draw.
        self.bar.total = self.bar.n + self.epochs * self.done

    def _next(self, batches: Iterator[Any]) -> Any:
        """The next batch, or nothing at the end of the epoch."""
        self.behind = Behind.now(self.done) if self.done > self.skipped else None
        with stopping.allowed():
            batch = next(batches, None)
        self.behind = None
        return batch

    def close(self) -> None:
        self.bar.close()
